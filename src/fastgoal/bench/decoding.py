"""One decode for both views of a sample, the whole image and its crop, beside a decode for each.

Crops of several sizes, because how far a JPEG can be decoded small (`draft`) depends on the smallest thing asked of it.
"""

from fastgoal.bench import reference
from fastgoal.bench.harness import Row, alternate, rates
from fastgoal.bench.photograph import photo
from fastgoal.data.images import read_image
from fastgoal.data.views import read_views
from fastgoal.geometry import ImageFit

SHORT_SIDES = (300, 450, 700, 1100)
LARGE = 450
"""Short side of a crop from which a draft must pay off."""


def decoding(
    *, size: tuple[int, int] = (2000, 1500), short_sides: tuple[int, ...] = SHORT_SIDES, rounds: int = 5
) -> list[Row]:
    """Samples per second of `read_views` against `reference.two_decodes`, in exact and in draft mode.

    Args:
        size: width and height of the JPEG.
        short_sides: of the crops, which are 4 : 3 and lie in the middle.
    """
    data, fit = photo(*size), ImageFit()
    return [_views(data, size, fit, side, exact, rounds) for exact in (True, False) for side in short_sides]


def _views(data: bytes, size: tuple[int, int], fit: ImageFit, side: int, exact: bool, rounds: int) -> Row:
    width, height = size
    left, top = (width - side * 4 // 3) // 2, (height - side) // 2
    box = (float(left), float(top), float(left + side * 4 // 3), float(top + side))
    sides = {
        "ours": lambda: read_views(data, fit, [None, box], exact=exact),
        "reference": lambda: reference.two_decodes(data, fit, box),
        "bound": lambda: read_image(data),
    }
    seconds = alternate(sides, rounds)
    if not exact:
        del seconds["bound"]  # a draft may well be faster than a full decode
    name = f"two views of a {width:,} x {height:,} JPEG, {'exact' if exact else 'draft'}, crop's short side {side:,}"
    aim = ">= 2.5" if side >= LARGE and not exact else ">= 1.25"
    return rates(name, "samples/s", 1, seconds, bound_is="one full decode alone" if exact else "", aim=aim)
