"""A folder of images per class, as ImageNet and most own data come: `DATA/CLASS/*.jpg`, folders below them included."""

import os
from collections.abc import Iterator
from pathlib import Path

from fastgoal.data.images import IMAGE_SUFFIXES
from fastgoal.data.labelled.source import LabelledImage
from fastgoal.errors import DataError

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def read_folders(folder: Path) -> tuple[list[str], list[LabelledImage]]:
    """The names of the classes' folders, sorted, and the images in the order of their paths. Hidden ones are ignored.

    Raises:
        DataError: no folder, folders that are splits, or no image in any.
    """
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError("no folder per class here", where=folder, mend=EXPECTED)
    if {name.lower() for name in classes} <= _SPLITS:
        mend = f"Name one of them: {', '.join(str(folder / name) for name in classes)}."
        raise DataError("the folders here are splits, not classes", where=folder, mend=mend)
    items = [
        LabelledImage(id=path, label=label) for label, name in enumerate(classes) for path in _images(folder, name)
    ]
    if not items:
        raise DataError("no image in any folder of a class", where=folder, mend=EXPECTED)
    return classes, items


def _images(folder: Path, name: str) -> Iterator[str]:
    found = []
    for place, folders, files in os.walk(folder / name):  # does not follow links to folders, so loops cannot occur
        folders[:] = [below for below in folders if not below.startswith(".")]
        found += [
            (Path(place) / file).relative_to(folder).as_posix()
            for file in files
            if Path(file).suffix.lower() in IMAGE_SUFFIXES and not file.startswith(".")
        ]
    return iter(sorted(found))


EXPECTED = (
    "Give a folder with a folder of images per class; `cifar-10-batches-py` or `cifar-100-python` as published; or "
    "Parquet files with an image and a label."
)
