"""The views of one image, whole and crops, from one decode that leaves out pixels no view needs.

A JPEG can be decoded at a half, a quarter or an eighth of its size for less work (Pillow's `draft`: libjpeg leaves out
the higher frequencies of each block). The one idea: a view may be cut from a draft that has at least as many pixels of
it as its resize asks for. A crop may need more of them than the whole image does, so the most demanding view decides;
where that needs every pixel, and in other formats, nothing is drafted and all views are exact.

Shapes: H = W = `fit.size`, C = 3 channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from fastgoal.data import images
from fastgoal.data.images import fit_pixels, on_square, whole_pixels
from fastgoal.geometry import Box, ImageFit, placement

Pixels = npt.NDArray[np.uint8]

_Turn = Image.Transpose
_LEFT_WAS_LAST = {_Turn.FLIP_LEFT_RIGHT, _Turn.ROTATE_180, _Turn.ROTATE_270, _Turn.TRANSVERSE}
_TOP_WAS_LAST = {_Turn.FLIP_TOP_BOTTOM, _Turn.ROTATE_180, _Turn.ROTATE_90, _Turn.TRANSVERSE}
"""Turns that bring the last column or row of the file to the left, and to the top."""


def read_views(
    source: str | Path | bytes, fit: ImageFit, boxes: Sequence[Box | None], *, exact: bool, where: object = None
) -> list[Pixels]:
    """The model's square inputs for an image and for crops of it, from one decode.

    Args:
        source: a path, or the bytes of the file.
        fit: how the model wants its input.
        boxes: crops, in whole pixels of the upright image; None is the whole image.
        exact: decode all pixels, so that every view equals `fit_pixels(read_image(source), fit, box)` bit for bit.
            Otherwise a JPEG is decoded at the size that `reduction` allows.
        where: what to name in an error (default: the path).

    Returns: one uint8 H x W x C view per box.

    Raises:
        DataError: as `read_image` and `fit_pixels`.
    """
    where = images.named(source, where)
    image = images.open_image(source, where)
    if not exact and isinstance(image, JpegImageFile):
        by = reduction(boxes, *images.upright_size(image), fit)
        if by > 1:
            draft = _Draft.decode(image, by, where)
            return [draft.view(fit, box) for box in boxes]
    picture = images.decode_image(image, where)
    return [fit_pixels(picture, fit, box) for box in boxes]


def reduction(boxes: Sequence[Box | None], width: int, height: int, fit: ImageFit) -> int:
    """By what both sides of an image may be divided so that no view is scaled up: 8, 4, 2 or 1.

    Args:
        boxes: the views, as in `read_views`.
        width, height: of the upright image.

    Raises:
        DataError: a box is no crop of the image.
    """
    spare = math.inf
    for box in boxes:
        x1, y1, x2, y2 = _corners(box, width, height)
        place = placement(x2 - x1, y2 - y1, fit)
        spare = min(spare, (x2 - x1) / place.width, (y2 - y1) / place.height)
    return next((by for by in (8, 4, 2) if by <= spare), 1)


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """An upright image decoded at a fraction of its size.

    width, height: of the image itself. by: how many of its pixels a pixel of the draft is wide and high. left, top:
    where the image's corner lies in the draft.
    """

    picture: Image.Image
    width: int
    height: int
    by: int
    left: float
    top: float

    @classmethod
    def decode(cls, image: JpegImageFile, by: int, where: object) -> "_Draft":
        width, height = images.upright_size(image)
        image.draft(None, (image.width // by, image.height // by))
        picture, turn = images.decode_image(image, where), images.turn_of(image)
        # Sides that `by` does not divide are rounded up: the file's last column and row reach beyond the image. To
        # scale boxes by the ratio of the sizes instead would shift them by up to a pixel of the draft, which moves
        # embeddings 25 times as far as drafting itself does.
        over_x, over_y = picture.width - width / by, picture.height - height / by
        left, top = over_x * (turn in _LEFT_WAS_LAST), over_y * (turn in _TOP_WAS_LAST)
        return cls(picture=picture, width=width, height=height, by=by, left=left, top=top)

    def view(self, fit: ImageFit, box: Box | None) -> Pixels:
        x1, y1, x2, y2 = _corners(box, self.width, self.height)
        place = placement(x2 - x1, y2 - y1, fit)
        left, top = self.left + x1 / self.by, self.top + y1 / self.by
        right, bottom = self.left + x2 / self.by, self.top + y2 / self.by
        # Cut outward to whole pixels, so that nothing beyond them is blended in, and resize to fractions of a pixel:
        # resizing all that was cut would again move embeddings far more than drafting does.
        x, y = math.floor(left), math.floor(top)
        crop = self.picture.crop((x, y, math.ceil(right), math.ceil(bottom)))
        inside = left - x, top - y, right - x, bottom - y
        return on_square(crop.resize((place.width, place.height), resample=fit.resample, box=inside), place, fit)


def _corners(box: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
    return (0, 0, width, height) if box is None else whole_pixels(box, width, height)
