"""DCI, Densely Captioned Images: 7,805 photos of SA-1B with human descriptions (Urbanek et al., 2023).

    densely_captioned_images/      or --root is this folder
      annotations/17-data.json     {"image", "short_caption", "extra_caption", "mask_data", ...}, one file per photo
      photos/sa_1543972.jpg        from the SA-1B archive sa_000138, which the publisher asks to be got apart
      splits.json                  DCI's own splits (its test set has about 100 photos); not used here
    DCI_test.json                  GOAL's released list [{"filename", "caption"}], beside or in the folder above

The long caption is the field `extra_caption`, by itself: GOAL's pair maker reads that field, and the captions of its
released list are without the annotations' labels and short captions. 203 of the 7,805 have an empty one, which leaves
7,602: the count of FAST-GOAL's DCI, elsewhere called Long-DCI. White space at a caption's ends is dropped here.

Splits: `dci/test` is GOAL's list, 1,999 photos with the list's own captions (the paper says 2,000); of its file names
only the last part counts. `dci/train` is every other photo with a long caption: 7,602 - 1,999 = 5,603 if all of the
list have one. GOAL's paper implies about 5,805 = 7,805 - 2,000 and says nothing of empty captions; its training list
could not be looked up. `long-dci/test` is all 7,602.

Looked up: fields and folders in the data set's repository, the list in GOAL's; 7,805, 203 and 7,602 in a published
recount. The photos that FAST-GOAL's 7,602 consist of are not published; that they are these is inferred from the count.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from fastgoal.data.benchmarks.common import entry, find, json_items, place
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError

FOLDER, ANNOTATIONS, PHOTOS, TEST_LIST = "densely_captioned_images", "annotations", "photos", "DCI_test.json"


@dataclass(frozen=True, kw_only=True)
class DciListReader:
    """The photos of GOAL's list with the list's captions."""

    root: Path
    photos: Path
    file: Path

    def __iter__(self) -> Iterator[Sample | DataError]:
        for number, record in enumerate(json_items(self.file)):
            where = f"{self.file}[{number}]"
            name, caption = listed_name(record), record.get("caption") if isinstance(record, dict) else None
            yield _entry(name, caption, where, self.photos, self.root)


@dataclass(frozen=True, kw_only=True)
class DciAnnotationsReader:
    """The photos whose annotation has a long caption, but for those of the list `without`."""

    root: Path
    photos: Path
    annotations: Path
    without: Path | None = None

    def __iter__(self) -> Iterator[Sample | DataError]:
        left_out = set() if self.without is None else {listed_name(record) for record in json_items(self.without)}
        for file in sorted(self.annotations.glob("*.json"), key=lambda file: (len(file.name), file.name)):
            try:
                image, caption = _long_caption(file, file.stat().st_mtime_ns)
            except DataError as error:
                yield error
                continue
            if caption and image not in left_out:
                yield _entry(image, caption, str(file), self.photos, self.root)


def listed_name(record: object) -> str:
    """The file name in a record of GOAL's lists, whose folders are those of the authors' machine; or nothing."""
    name = record.get("filename") if isinstance(record, dict) else None
    return PurePosixPath(name.replace("\\", "/")).name if isinstance(name, str) else ""


def _entry(name: str, caption: object, where: str, photos: Path, root: Path) -> Sample | DataError:
    image = place(photos, name, root) if name else None
    return entry({"id": PurePosixPath(name).stem or None, "image": image, "caption": caption}, where, root)


@lru_cache(maxsize=2**14)
def _long_caption(file: Path, modified: int) -> tuple[str, str]:
    """Image and long caption of an annotation. Remembered: every pass would decode the masks of 7,805 files again."""
    try:
        record = json.loads(file.read_text(encoding="utf-8-sig"))
        image, caption = record["image"], record["extra_caption"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"not an annotation of DCI ({error})", where=file, mend="Get it again.") from None
    if not (isinstance(image, str) and image and isinstance(caption, str)):
        raise DataError("image or extra_caption is not a text", where=file, mend="Get it again.")
    return image, caption.strip()


def read(root: Path, split: str) -> DciListReader | DciAnnotationsReader:
    """The reader of `test`, `train` or `long` (all with a long caption)."""
    photos = find(root, PHOTOS, FOLDER) / PHOTOS
    if split == "test":
        return DciListReader(root=root, photos=photos, file=_test_list(root))
    annotations = find(root, ANNOTATIONS, FOLDER) / ANNOTATIONS
    without = _test_list(root) if split == "train" else None
    return DciAnnotationsReader(root=root, photos=photos, annotations=annotations, without=without)


def _test_list(root: Path) -> Path:
    try:
        return find(root, TEST_LIST, FOLDER) / TEST_LIST
    except DataError as error:
        mend = (
            "Copy it from the folder datasets/ of GOAL's repository: no other file says which photos are the test set."
        )
        raise DataError(error.what, where=error.where, mend=mend) from None
