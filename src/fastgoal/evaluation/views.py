"""The images of a test set as a model sees them, decoded once.

Decoding costs more than embedding with a small model, and several models are evaluated on one test set, usually with
one image fit. A `ViewSet` holds the square uint8 views (150 kB each at 224 px) for all of them, or makes them anew each
time where they would not fit in memory; whole images and crops of the same image come from one decode.

Shapes: N views, H = W = side of the model's input, C = 3 channels.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastgoal.ahead import look_ahead
from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.source import Source
from fastgoal.data.store import ImageStore
from fastgoal.embed import View
from fastgoal.errors import ConfigError
from fastgoal.geometry import Box, ImageFit
from fastgoal.models.retriever import Retriever

Wanted = tuple[str, Box | None]
"""An image (relative URI) and the crop of it in whole pixels; None for the whole image."""


class ViewSet:
    """Views of images and crops, in the order asked for; iterate as often as needed.

    Args:
        wanted: images and crops; those of one image should stand together, so that it is decoded once.
        images: where the images are read from.
        fit: the image fit; only models with the same geometry can be evaluated with these views.
        keep: hold the views in memory after the first pass.
        workers: threads that decode (Pillow releases the interpreter's lock).
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        images: ImageStore,
        fit: ImageFit,
        *,
        keep: bool = True,
        workers: int = 2,
    ) -> None:
        self.wanted, self.fit, self.keep = tuple(wanted), fit, keep
        self.size_of: dict[str, tuple[int, int]] = {}
        """Width and height of every upright image that was decoded so far."""
        self.images, self._workers = images, workers
        self._kept: npt.NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, source: Source, fit: ImageFit, *, keep: bool = True, workers: int = 2) -> "ViewSet":
        """Every distinct image of a source, whole, in order of first appearance."""
        images = dict.fromkeys(sample.image for sample in source)
        return cls([(image, None) for image in images], source.images, fit, keep=keep, workers=workers)

    def __len__(self) -> int:
        return len(self.wanted)

    def __iter__(self) -> Iterator[View]:
        if self._kept is not None:
            yield from self._kept
            return
        kept = np.empty((len(self) if self.keep else 0, self.fit.size, self.fit.size, 3), np.uint8)
        for row, view in enumerate(self._decoded()):
            if self.keep:
                kept[row] = view
            yield view
        self._kept = kept if self.keep else None

    def check(self, wanted: Sequence[Wanted], encoder: Retriever) -> None:
        """Raises ConfigError unless these are the views that an evaluation of `encoder` needs."""
        if self.wanted != tuple(wanted):
            raise ConfigError("the views are of other images than the test set's", mend="Make them from the same data.")
        if _geometry(self.fit) != _geometry(encoder.fit):
            what = f"the views were made with {self.fit}, but '{encoder.name}' needs {encoder.fit}"
            raise ConfigError(what, mend="Make a view set for each image fit.")

    def _decoded(self) -> Iterator[View]:
        for views in look_ahead(self._decode, self._opened(), self._workers):
            yield from views

    def _opened(self) -> Iterator[tuple[str, Path | bytes, list[Box | None]]]:
        for image, group in groupby(self.wanted, key=lambda wanted: wanted[0]):
            yield image, self.images.open(image), [box for _, box in group]

    def _decode(self, opened: tuple[str, Path | bytes, list[Box | None]]) -> list[View]:
        image, raw, boxes = opened
        picture = read_image(raw, where=self.images.root / image)
        self.size_of[image] = picture.size
        return [fit_pixels(picture, self.fit, box) for box in boxes]


def _geometry(fit: ImageFit) -> tuple[str, int, int, int]:
    """What the pixels depend on: normalisation comes later, and `resize` counts only where the image is cropped."""
    return fit.mode, fit.size, fit.resize if fit.mode == "crop" else fit.size, fit.resample
