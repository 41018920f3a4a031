"""Heat maps over images: numbers per patch as colours that the image shows through.

Each map runs from its lowest to its highest patch, because cosines of patches with sentences differ from model to model
and sentence to sentence in a constant that says nothing. What the image fit cuts away is pale.

Shapes: G x G patches; h x w pixels of the picture.
"""

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fastgoal.geometry import Box

Floats = npt.NDArray[np.float32]

COLOURS = "inferno"
LEAST, MOST = 0.15, 0.7
"""How much of the picture the lowest and the highest patch cover."""


def heat_rgba(heat_GG: Floats) -> npt.NDArray[np.uint8]:
    """Colour and cover of each patch, G x G x 4."""
    low, high = float(heat_GG.min()), float(heat_GG.max())
    share_GG = (heat_GG - low) / (high - low) if high > low else np.zeros_like(heat_GG)
    rgba_GG4 = matplotlib.colormaps[COLOURS](share_GG)
    rgba_GG4[..., 3] = LEAST + (MOST - LEAST) * share_GG
    return np.asarray(np.rint(255 * rgba_GG4), dtype=np.uint8)


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """The image as large as fits."""
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def with_heat(small: Image.Image, heat_GG: Floats, view: Box, width: int, height: int) -> Image.Image:
    """A picture with a heat map over it.

    Args:
        small: the upright image at any size. view: what the patches cover, in pixels of the original.
        width, height: of the original.
    """
    x1, y1, x2, y2 = _scaled(view, small, width, height)
    place = round(x1), round(y1), max(round(x1) + 1, round(x2)), max(round(y1) + 1, round(y2))
    heat = Image.fromarray(heat_rgba(heat_GG)).resize(
        (place[2] - place[0], place[3] - place[1]), Image.Resampling.BICUBIC
    )
    pale = Image.blend(small, Image.new("RGB", small.size, "white"), 0.7)
    seen = place[0], place[1], min(place[2], small.width), min(place[3], small.height)
    pale.paste(small.crop(_within(seen, small)), _within(seen, small)[:2])
    layer = Image.new("RGBA", small.size)
    layer.paste(heat, place[:2])
    return Image.alpha_composite(pale.convert("RGBA"), layer).convert("RGB")


def with_boxes(small: Image.Image, boxes: list[tuple[Box, str, bool]], width: int, height: int) -> Image.Image:
    """A picture with outlines: box in pixels of the original, colour, and whether it is dashed."""
    drawn = small.copy()
    pen = ImageDraw.Draw(drawn)
    for box, colour, dashed in boxes:
        x1, y1, x2, y2 = (round(value) for value in _scaled(box, small, width, height))
        corners = max(0, x1), max(0, y1), min(small.width - 1, x2 - 1), min(small.height - 1, y2 - 1)
        if corners[2] - corners[0] < 2 or corners[3] - corners[1] < 2:
            continue
        if dashed:
            _dashes(pen, corners, colour)
        else:
            pen.rectangle(corners, outline="white", width=4)
            pen.rectangle(tuple(v + d for v, d in zip(corners, (1, 1, -1, -1), strict=True)), outline=colour, width=2)
    return drawn


def _dashes(pen: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], colour: str, step: int = 6) -> None:
    x1, y1, x2, y2 = corners
    for start in range(x1, x2, 2 * step):
        for y in (y1, y2):
            pen.line((start, y, min(start + step, x2), y), fill=colour, width=2)
    for start in range(y1, y2, 2 * step):
        for x in (x1, x2):
            pen.line((x, start, x, min(start + step, y2)), fill=colour, width=2)


def _scaled(box: Box, small: Image.Image, width: int, height: int) -> tuple[float, float, float, float]:
    across, down = small.width / width, small.height / height
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _within(place: tuple[int, int, int, int], small: Image.Image) -> tuple[int, int, int, int]:
    return max(0, place[0]), max(0, place[1]), min(place[2], small.width), min(place[3], small.height)
