"""Labelled images as one sequence: what each is called, which class it shows, and how its pixels are had.

The items are held (a name and a number each); pixels are not, unless the data comes decoded in one piece (CIFAR).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastgoal.data.images import read_image
from fastgoal.data.source import Problems
from fastgoal.data.store import ImageStore

Raw = Path | bytes | npt.NDArray[np.uint8]
"""A picture before it is decoded: its file, the bytes of one, or upright RGB pixels, H x W x 3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledImage:
    """One image. id: its URI under the source's root, or the place in its file. label: index of its class.
    pixels: H x W x 3 where the data holds them decoded."""

    id: str
    label: int
    pixels: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledSource:
    """Images of some classes.

    classes: readable names, in the order of the labels. items: the images. problems: entries that had to be left out.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    items: Sequence[LabelledImage]
    problems: Problems = field(default_factory=Problems)

    def __len__(self) -> int:
        return len(self.items)

    def raw(self, item: LabelledImage) -> Raw:
        """Where the picture is to be had from; not to be called by several threads at once.

        Raises:
            DataError: the file that holds the image, or its place in it, is not there.
        """
        return ImageStore(self.root).open(item.id) if item.pixels is None else item.pixels

    def picture(self, item: LabelledImage, raw: Raw) -> Image.Image:
        """The upright RGB picture.

        Raises:
            DataError: an image that cannot be read.
        """
        return Image.fromarray(raw) if isinstance(raw, np.ndarray) else read_image(raw, where=self.root / item.id)
