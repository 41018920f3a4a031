"""Outlines of the drawn shapes and their anti-aliased masks.

An outline is a list of strokes in a square of -100..100 (y down): polygons and discs that add to the shape or cut from
it. Turning moves the points by a fixed table, and edges are smoothed by drawing four times larger, so a mask needs no
floating-point function whose last digit differs between machines.
"""

from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw


class Stroke(NamedTuple):
    """A polygon (three points or more) or, with `radius`, a disc around its only point; `cut` removes instead of
    adding."""

    points: tuple[tuple[int, int], ...]
    radius: int = 0
    cut: bool = False


def _poly(*xy: int) -> Stroke:
    return Stroke(tuple(zip(xy[::2], xy[1::2], strict=True)))


def _disc(x: int, y: int, radius: int, *, cut: bool = False) -> Stroke:
    return Stroke(((x, y),), radius, cut)


OUTLINES: dict[str, tuple[Stroke, ...]] = {
    "circle": (_disc(0, 0, 96),),
    "square": (_poly(-84, -84, 84, -84, 84, 84, -84, 84),),
    "triangle": (_poly(0, -92, 92, 78, -92, 78),),
    "diamond": (_poly(0, -98, 68, 0, 0, 98, -68, 0),),
    "hexagon": (_poly(-96, 0, -48, -83, 48, -83, 96, 0, 48, 83, -48, 83),),
    "star": (_poly(0, -98, 23, -31, 93, -30, 37, 12, 58, 79, 0, 39, -58, 79, -37, 12, -93, -30, -23, -31),),
    "heart": (_disc(-45, -36, 50), _disc(45, -36, 50), _poly(-90, -14, 0, -40, 90, -14, 0, 94)),
    "crescent": (_disc(-6, 0, 94), _disc(38, -16, 76, cut=True)),
    "cross": (_poly(-32, -94, 32, -94, 32, 94, -32, 94), _poly(-94, -32, 94, -32, 94, 32, -94, 32)),
    "ring": (_disc(0, 0, 96), _disc(0, 0, 46, cut=True)),
    "arrow": (_poly(-96, -30, 6, -30, 6, -80, 96, 0, 6, 80, 6, 30, -96, 30),),
    "drop": (_disc(0, 30, 64), _poly(0, -98, 59, 8, -59, 8)),
    "house": (_poly(-100, -16, 0, -94, 100, -16), _poly(-74, -20, 74, -20, 74, 90, -74, 90)),
    "flower": (
        _disc(0, -56, 40),
        _disc(53, -17, 40),
        _disc(33, 45, 40),
        _disc(-33, 45, 40),
        _disc(-53, -17, 40),
        _disc(0, 0, 40),
    ),
    "bolt": (_poly(20, -98, -64, 18, -8, 18, -24, 98, 66, -24, 8, -24, 44, -98),),
    "crown": (_poly(-94, -56, -48, 6, 0, -80, 48, 6, 94, -56, 78, 74, -78, 74),),
    "fish": (_poly(-94, 0, -52, -44, 0, -54, 44, -20, 94, -58, 80, 0, 94, 58, 44, 20, 0, 54, -52, 44),),
    "mushroom": (
        _disc(0, -14, 82),
        _poly(-110, 2, 110, 2, 110, 110, -110, 110)._replace(cut=True),
        _poly(-30, 0, 30, 0, 36, 90, -36, 90),
    ),
    "tree": (
        _poly(0, -98, 56, -22, 30, -22, 84, 52, -84, 52, -30, -22, -56, -22),
        _poly(-18, 50, 18, 50, 18, 96, -18, 96),
    ),
    "hourglass": (_poly(-76, -92, 76, -92, 10, 0, 76, 92, -76, 92, -10, 0),),
    "cloud": (
        _disc(-50, 20, 46),
        _disc(50, 20, 46),
        _disc(-14, -26, 52),
        _disc(36, -18, 42),
        _poly(-50, 10, 50, 10, 50, 66, -50, 66),
    ),
}

TURNS: tuple[tuple[int, int], ...] = ((966, -259), (990, -139), (1000, 0), (990, 139), (966, 259))
"""Cosine and sine, in thousandths, of -15, -8, 0, 8 and 15 degrees."""

_SMOOTH = 4


@lru_cache(maxsize=4096)
def mask(shape: str, side: int, turn: int) -> Image.Image:
    """The shape's coverage, 0..255, in a `side` x `side` square, turned by `TURNS[turn]`."""
    big = side * _SMOOTH
    cos, sin = TURNS[turn]

    def place(x: int, y: int) -> tuple[int, int]:
        # 2300 leaves a rim for what sticks out of the square when turned
        return big // 2 + (x * cos - y * sin) * big // 230_000, big // 2 + (x * sin + y * cos) * big // 230_000

    image = Image.new("L", (big, big))
    draw = ImageDraw.Draw(image)
    for stroke in OUTLINES[shape]:
        ink = 0 if stroke.cut else 255
        if stroke.radius:
            (x, y), r = place(*stroke.points[0]), stroke.radius * big // 230
            draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)
        else:
            draw.polygon([place(*point) for point in stroke.points], fill=ink)
    return image.reduce(_SMOOTH)
