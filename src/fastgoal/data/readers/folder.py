"""A folder of images with a `.txt` of the same name beside each."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastgoal.data.images import IMAGE_SUFFIXES
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError
from fastgoal.remote.place import Place, relative


@dataclass(frozen=True, kw_only=True)
class FolderReader:
    """Images in the order of their paths. An image without a caption file is a problem, and so is a caption file
    without an image, unless it is the folder's notes (`README`, `LICENSE`); other files are ignored.

    root: folder that the samples' images are relative to; None: `folder`. Ids are relative to `folder` always.
    """

    folder: Path
    root: Place | None = None

    def __iter__(self) -> Iterator[Sample | DataError]:
        images, texts = self.names()
        for image in images:
            yield self.sample(image)
        named = {Path(image).with_suffix("").as_posix() for image in images}
        for text in texts:
            if text.removesuffix(".txt") not in named and Path(text).stem.lower() not in _NOTES:
                yield DataError(
                    "caption without an image", where=self.folder / text, mend="Add its image or remove it."
                )

    def names(self) -> tuple[list[str], list[str]]:
        """Relative paths of the images and of the `.txt` files, each sorted."""
        images: list[str] = []
        texts: list[str] = []
        for place, folders, files in os.walk(self.folder):  # does not follow links to folders, so loops cannot occur
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                suffix = Path(name).suffix.lower()
                if not name.startswith(".") and (suffix in IMAGE_SUFFIXES or suffix == ".txt"):
                    path = (Path(place) / name).relative_to(self.folder).as_posix()
                    (texts if suffix == ".txt" else images).append(path)
        return sorted(images), sorted(texts)

    def sample(self, image: str) -> Sample | DataError:
        """The sample of one of the images, or why there is none."""
        path = self.folder / image
        text = path.with_suffix(".txt")
        if not text.is_file():
            return DataError("image without a caption", where=path, mend=f"Write its caption to {text.name}.")
        try:
            caption = text.read_text(encoding="utf-8-sig").strip()
        except UnicodeDecodeError as error:
            return DataError(f"not UTF-8 at byte {error.start}", where=text, mend="Save the file as UTF-8.")
        except OSError as error:
            return DataError(f"cannot be read ({error.strerror})", where=text, mend="Check who may read it.")
        if not caption:
            return DataError("the caption is empty", where=text, mend="Write a caption or remove the image.")
        uri = image if self.root is None else relative(path, self.root)
        return Sample(id=image, image=uri, caption=caption, where=str(text))


_NOTES = frozenset({"readme", "license", "licence", "notes", "changelog", "requirements"})
