"""Heat maps, boxes and marks over images.

Each map runs from its lowest to its highest patch, because cosines of patches with sentences differ from model to model
and sentence to sentence in a constant that says nothing. What the image fit cuts away is pale.

Shapes: G x G patches; h x w pixels of the picture.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fastgoal.explain.explanation import Floats
from fastgoal.geometry import Box, clip_box

COLOURS = "inferno"
LEAST, MOST = 0.25, 0.8
"""How much of the picture the lowest and the highest patch cover."""
GREYED = 0.85
"""How much of a picture's own colour is taken out under a map, where it would be read as heat."""
Corners = tuple[int, int, int, int]


def heat_image(heat_GG: Floats, width: int, height: int) -> Image.Image:
    """A map as RGBA of this size, smooth between the centres of patches."""
    low, high = float(heat_GG.min()), float(heat_GG.max())
    share_GG = (heat_GG - low) / (high - low) if high > low else np.zeros_like(heat_GG)
    # Resized before it is coloured: between dark and bright lies what lies between in the map, not a mixed colour.
    share_hw = Image.fromarray(share_GG.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    rgba_hw4: npt.NDArray[np.float64] = matplotlib.colormaps[COLOURS](np.clip(np.asarray(share_hw), 0, 1))
    rgba_hw4[..., 3] = LEAST + (MOST - LEAST) * np.clip(np.asarray(share_hw), 0, 1)
    return Image.fromarray(np.rint(255 * rgba_hw4).astype(np.uint8))


def fitted(image: Image.Image, side: int) -> Image.Image:
    """The image with its long side made `side` pixels."""
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def with_heat(small: Image.Image, heat_GG: Floats, view: Box, width: int, height: int) -> Image.Image:
    """A picture with a heat map over it.

    Args:
        small: the upright image at any size. view: what the patches cover, in pixels of the original.
        width, height: of the original.
    """
    x1, y1, x2, y2 = _corners(view, small, width, height)
    pale = Image.blend(small, Image.new("RGB", small.size, "white"), 0.7)
    seen = _corners(clip_box(view, width, height), small, width, height)
    pale.paste(Image.blend(small, small.convert("L").convert("RGB"), GREYED).crop(seen), seen[:2])
    layer = Image.new("RGBA", small.size)
    layer.paste(heat_image(heat_GG, max(1, x2 - x1), max(1, y2 - y1)), (x1, y1))
    return Image.alpha_composite(pale.convert("RGBA"), layer).convert("RGB")


def outline(
    small: Image.Image, box: Box, width: int, height: int, colour: str, *, dashed: bool = False, inset: int = 0
) -> tuple[int, int]:
    """Draw a box, given in pixels of the original, onto a picture; returns where its corner is.

    Args:
        inset: pixels by which it is drawn smaller, so that equal boxes of several sentences are all seen.
    """
    x1, y1, x2, y2 = _corners(clip_box(box, width, height), small, width, height)
    x1, y1, x2, y2 = x1 + inset, y1 + inset, x2 - 1 - inset, y2 - 1 - inset
    pen = ImageDraw.Draw(small)
    if x2 - x1 > 3 and y2 - y1 > 3:
        if dashed:
            pen.rectangle((x1, y1, x2, y2), outline="black", width=3)
            _dashes(pen, (x1, y1, x2, y2), colour)
        else:
            pen.rectangle((x1, y1, x2, y2), outline="white", width=4)
            pen.rectangle((x1 + 1, y1 + 1, x2 - 1, y2 - 1), outline=colour, width=2)
    return x1, y1


def mark(small: Image.Image, patch: Box, width: int, height: int) -> None:
    """A small ring at the centre of a patch, drawn onto a picture."""
    x1, y1, x2, y2 = _corners(patch, small, width, height)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    pen = ImageDraw.Draw(small)
    pen.ellipse((x - 6, y - 6, x + 6, y + 6), outline="black", width=4)
    pen.ellipse((x - 5, y - 5, x + 5, y + 5), outline="white", width=2)


def tag(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: str, font: ImageFont.FreeTypeFont) -> int:
    """A number on its colour; returns its width."""
    wide, high = round(font.getlength(text)) + 8, round(font.size) + 4
    pen.rounded_rectangle((at[0], at[1], at[0] + wide, at[1] + high), 3, fill=colour)
    pen.text((at[0] + wide / 2, at[1] + high / 2), text, font=font, fill="white", anchor="mm")
    return wide


def numbered(
    small: Image.Image, boxes: Sequence[tuple[str, Box, str]], width: int, height: int, font: ImageFont.FreeTypeFont
) -> Image.Image:
    """A picture with boxes and their numbers: each a number, a box in pixels of the original, and a colour."""
    drawn, tags = small.copy(), list[tuple[int, int, str, str]]()
    for count, (number, box, colour) in enumerate(boxes):
        x, y = outline(drawn, box, width, height, colour, inset=2 * (count % 3))
        tags.append((x, y, number, colour))
    pen, taken = ImageDraw.Draw(drawn), list[tuple[int, int]]()
    for x, y, number, colour in tags:  # last, so that no box crosses them, and beside each other, not one over another
        while any(abs(x - other) < 20 and abs(y - beside) < 18 for other, beside in taken):
            x += 20
        taken.append((x, y))
        tag(pen, (x, y), number, colour, font)
    return drawn


def _dashes(pen: ImageDraw.ImageDraw, corners: Corners, colour: str, step: int = 6) -> None:
    x1, y1, x2, y2 = corners
    for start in range(x1, x2, 2 * step):
        for y in (y1 + 1, y2 - 1):
            pen.line((start, y, min(start + step, x2), y), fill=colour, width=2)
    for start in range(y1, y2, 2 * step):
        for x in (x1 + 1, x2 - 1):
            pen.line((x, start, x, min(start + step, y2)), fill=colour, width=2)


def _corners(box: Box, small: Image.Image, width: int, height: int) -> Corners:
    across, down = small.width / width, small.height / height
    return round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)
