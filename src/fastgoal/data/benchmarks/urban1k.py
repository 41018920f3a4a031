"""Urban1k: 1,000 photos of busy streets, each with a caption of about 100 words (Zhang et al., Long-CLIP, 2024).

    Urban1k/          or --root is this folder
      image/1.jpg     1.jpg to 1000.jpg
      caption/1.txt   the first line is the caption; same name

One split, `test`. Looked up: the folders and the rule of the first line in Long-CLIP's evaluation, the names 1 to 1000
in GOAL's released list.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastgoal.data.benchmarks.common import entry, find, place
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Urban1kReader:
    """Captions in the order of their numbers; an image without a caption is a problem, other files are ignored."""

    root: Path
    folder: Path

    def __iter__(self) -> Iterator[Sample | DataError]:
        texts, images = (_named(self.folder / name, suffix) for name, suffix in (("caption", "txt"), ("image", "jpg")))
        for name in texts:
            yield self._sample(name)
        for name in images:
            if name not in texts:
                where = self.folder / "image" / f"{name}.jpg"
                yield DataError("an image without a caption", where=where, mend=f"caption/{name}.txt belongs to it.")

    def _sample(self, name: str) -> Sample | DataError:
        file = self.folder / "caption" / f"{name}.txt"
        image = place(self.folder / "image", f"{name}.jpg", self.root)
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            return DataError(f"the caption cannot be read ({error})", where=file, mend="Get it again.")
        return entry({"id": name, "image": image, "caption": lines[0].strip() if lines else ""}, str(file), self.root)


def _named(folder: Path, suffix: str) -> dict[str, None]:
    """The stems of a folder's files of one kind, 2 before 10."""
    return dict.fromkeys(sorted((file.stem for file in folder.glob(f"*.{suffix}")), key=lambda stem: (len(stem), stem)))


def read(root: Path, split: str) -> Urban1kReader:
    """The reader of the one split."""
    folder = find(root, "caption", "Urban1k")
    find(folder, "image")
    return Urban1kReader(root=root, folder=folder)
