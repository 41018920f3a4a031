"""The test sets of CIFAR-10 and CIFAR-100 from their published python batches, which are pickles.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (10,000 images of 32 x 32; a row holds the red, the green and the
blue plane, each row by row; CIFAR-100's hundred fine labels are taken, not its twenty coarse ones).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastgoal.data.labelled.source import LabelledImage
from fastgoal.data.labelled.unpickle import read_pickle
from fastgoal.errors import DataError

_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one of the sets is laid out on disk. batch, names: files, and the fields of theirs that count."""

    folder: str
    batch: str
    labels: str
    meta: str
    names: str


LAYOUTS = (
    Layout(folder="cifar-10-batches-py", batch="test_batch", labels="labels", meta="batches.meta", names="label_names"),
    Layout(folder="cifar-100-python", batch="test", labels="fine_labels", meta="meta", names="fine_label_names"),
)


def cifar_in(folder: Path) -> tuple[Path, Layout] | None:
    """The folder of a CIFAR set and its layout, if `folder` is one or holds one."""
    for layout in LAYOUTS:
        for place in (folder, folder / layout.folder):
            if (place / layout.batch).is_file() and (place / layout.meta).is_file():
                return place, layout
    return None


def read_cifar(folder: Path, layout: Layout) -> tuple[list[str], list[LabelledImage]]:
    """The names of the classes, and the test images with their pixels.

    Raises:
        DataError: pickles of anything else, or pixels and labels that do not belong together.
    """
    batch, meta = read_pickle(folder / layout.batch), read_pickle(folder / layout.meta)
    names, labels, data = meta.get(layout.names), batch.get(layout.labels, []), batch.get("data")
    if not (
        isinstance(data, np.ndarray)
        and data.shape[1:] == (3 * _SIDE * _SIDE,)
        and _whole(labels)
        and len(labels) == len(data) > 0
    ):
        what = f"no images of {_SIDE} x {_SIDE} with one label each ({layout.labels})"
        raise DataError(what, where=folder / layout.batch, mend="Download and unpack the data again.")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"no {layout.names}", where=folder / layout.meta, mend="Download and unpack the data again.")
    if not all(0 <= label < len(names) for label in labels):
        what = f"labels beyond the {len(names)} classes"
        raise DataError(what, where=folder / layout.batch, mend="Download and unpack the data again.")
    pixels_NHWC = data.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    items = [
        LabelledImage(id=f"{layout.batch}#{row}", label=label, pixels=np.ascontiguousarray(pixels_NHWC[row]))
        for row, label in enumerate(labels)
    ]
    return [name.decode() if isinstance(name, bytes) else name for name in names], items


def _whole(labels: Any) -> bool:
    return isinstance(labels, Sequence) and all(type(label) is int for label in labels)
