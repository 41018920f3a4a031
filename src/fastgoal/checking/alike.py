"""Which of many are equal or alike, from 8-byte hashes of all of them.

A picture's hash is its difference hash: shrunk to 9 x 8 grey cells, one bit per cell that says whether its right
neighbour is brighter. Scaling, recompression and small retouches change a few bits. Since pictures on a plain ground
share most bits, the mean colours of the four quarters have to agree as well.

Equal ones are found exactly. Alike ones are looked for among the neighbours in four sorted orders (the hash turned by
16 bits each time), which takes N log N time and flat memory but can miss some where thousands are nearly alike.

Shapes: N things (images or samples), K of them found.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.intp]

BITS = 4
"""Bits of 64 in which the difference hashes of alike pictures differ at most."""
_SHADES = 1
"""Steps of 32 by which the colours of a quarter differ at most."""
_BRIGHTER = 2
"""Grey levels of 256 that count as a difference; less is noise of compression in plain areas."""
_NEIGHBOURS = 16
_SET_BITS = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)


def picture_hashes(image: Image.Image) -> tuple[int, int, bool]:
    """Difference hash and quarter colours (64 bits each) of an upright RGB image, and whether it is plain: of one
    colour, so that its difference hash says nothing."""
    small = image.resize((18, 16), Image.Resampling.BOX) if min(image.size) >= 18 else image
    grey = np.asarray(small.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (grey[:, 1:] - grey[:, :-1] > _BRIGHTER).reshape(-1)
    quarters = np.asarray(image.resize((2, 2), Image.Resampling.BOX)).reshape(-1) >> 3
    colours = sum(int(shade) << (5 * i) for i, shade in enumerate(quarters))
    return int.from_bytes(np.packbits(bits).tobytes()), colours, bool(np.ptp(grey) <= _BRIGHTER)


def repeats(hash_N: Hashes) -> tuple[Places, Places]:
    """The places of those that have an equal before them, in order, and the place of the first equal of each (K,
    K)."""
    order_N = np.argsort(hash_N, kind="stable")
    sorted_N = hash_N[order_N]
    new_N = np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]])[: len(sorted_N)]
    first_N = order_N[np.maximum.accumulate(np.where(new_N, np.arange(len(sorted_N)), 0))]
    later_K, first_K = order_N[~new_N], first_N[~new_N]
    return _in_order(later_K, first_K)


def shared(hash_N: Hashes, other_M: Hashes) -> tuple[Places, Places]:
    """The places in N of those that also occur in M, and where they occur first in M (K, K)."""
    order_M = np.argsort(other_M, kind="stable")
    at_N = np.searchsorted(other_M[order_M], hash_N)
    at_N = np.minimum(at_N, max(len(other_M) - 1, 0))
    found_K = np.flatnonzero(other_M[order_M][at_N] == hash_N) if len(other_M) else np.empty(0, dtype=np.intp)
    return found_K, order_M[at_N[found_K]] if len(other_M) else found_K


def alike(shape_N: Hashes, colours_N: Hashes, side_N: npt.NDArray[np.bool_] | None = None) -> tuple[Places, Places]:
    """The places of pictures that look like one before them, and the place of that one (K, K).

    Args:
        shape_N, colours_N: see `picture_hashes`; leave plain pictures out.
        side_N: which of two data sets each belongs to; given, only likenesses between the two count.
    """
    first_N = np.arange(len(shape_N))
    for turn in range(0, 64, 16):
        turned_N = (shape_N << np.uint64(turn)) | (shape_N >> np.uint64((64 - turn) % 64))
        order_N = np.lexsort((colours_N, turned_N))
        for step in range(1, min(_NEIGHBOURS, len(order_N) - 1) + 1):
            a_K, b_K = _alike_pairs(order_N[:-step], order_N[step:], shape_N, colours_N, side_N)
            np.minimum.at(first_N, np.maximum(a_K, b_K), np.minimum(a_K, b_K))
    later_K = np.flatnonzero(first_N < np.arange(len(first_N)))
    return later_K, first_N[later_K]


def _alike_pairs(
    a_K: Places, b_K: Places, shape_N: Hashes, colours_N: Hashes, side_N: npt.NDArray[np.bool_] | None
) -> tuple[Places, Places]:
    near_K = bits_apart(shape_N[a_K], shape_N[b_K]) <= BITS
    if side_N is not None:
        near_K &= side_N[a_K] != side_N[b_K]
    a_K, b_K = a_K[near_K], b_K[near_K]
    same_K = _shades_apart(colours_N[a_K], colours_N[b_K]) <= _SHADES
    return a_K[same_K], b_K[same_K]


def bits_apart(a_K: Hashes, b_K: Hashes) -> npt.NDArray[np.int64]:
    """In how many of the 64 bits the hashes differ."""
    apart_K8 = np.ascontiguousarray(a_K ^ b_K).view(np.uint8).reshape(-1, 8)
    bits_K: npt.NDArray[np.int64] = _SET_BITS[apart_K8].sum(axis=1, dtype=np.int64)
    return bits_K


def _shades_apart(a_K: Hashes, b_K: Hashes) -> npt.NDArray[np.int64]:
    shifts_12 = np.arange(12, dtype=np.uint64) * np.uint64(5)
    a_K12, b_K12 = (((c_K[:, None] >> shifts_12) & np.uint64(31)).astype(np.int64) for c_K in (a_K, b_K))
    steps_K: npt.NDArray[np.int64] = np.abs(a_K12 - b_K12).max(axis=1, initial=0)
    return steps_K


def _in_order(later_K: Places, first_K: Places) -> tuple[Places, Places]:
    order_K = np.argsort(later_K, kind="stable")
    return later_K[order_K], first_K[order_K]
