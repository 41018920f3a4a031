"""From raw boxes to regions worth keeping: the same visible stages behind every source of regions.

Clip to the image and round outward to whole pixels (a crop is cut from pixels); drop what is too small to describe or
so large that it is the whole picture; suppress near-duplicates; keep the best few.

Shapes: N candidate boxes of one image.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgoal.errors import ConfigError
from fastgoal.geometry import Box, Floats, nms

_ROUNDING = 1e-4  # pixels; 17.00001 is a float32 detector's 17, not a reason to take in an 18th row


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What to keep of an image's candidates.

    min_area, max_area: limits on a box's area, as shares of the image's.
    nms_iou: of two boxes with a larger IoU only the better one stays.
    max_regions: at most so many per image, best first.
    """

    min_area: float = 0.01
    max_area: float = 0.8
    nms_iou: float = 0.7
    max_regions: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.min_area < self.max_area <= 1:
            where, mend = "min_area, max_area", "Give shares of the image with 0 <= min_area < max_area <= 1."
            raise ConfigError(f"{self.min_area} and {self.max_area} are no area limits", where=where, mend=mend)
        if not 0 <= self.nms_iou <= 1:
            raise ConfigError(f"{self.nms_iou} is no IoU", where="nms_iou", mend="Give a number between 0 and 1.")
        if self.max_regions < 1:
            raise ConfigError(f"{self.max_regions} regions are none", where="max_regions", mend="Give 1 or more.")


def whole_pixels(boxes_N4: npt.ArrayLike, width: int, height: int) -> npt.NDArray[np.int64]:
    """Boxes clipped to the image and rounded outward to whole pixels; a box wholly outside becomes empty."""
    boxes_N4 = np.asarray(boxes_N4, dtype=np.float64).reshape(-1, 4)
    first_N2, last_N2 = np.floor(boxes_N4[:, :2] + _ROUNDING), np.ceil(boxes_N4[:, 2:] - _ROUNDING)
    whole_N4 = np.clip(np.concatenate([first_N2, last_N2], axis=1), 0, [width, height, width, height])
    pixels_N4: npt.NDArray[np.int64] = whole_N4.astype(np.int64)
    return pixels_N4


def select(
    boxes_N4: npt.ArrayLike, scores_N: npt.ArrayLike, width: int, height: int, limits: Limits
) -> list[tuple[Box, int]]:
    """The candidates that pass `limits`, best first, each with its index among the candidates.

    Boxes that are not finite (a detector in half precision can give some) are dropped.
    """
    boxes_N4 = np.asarray(boxes_N4, dtype=np.float64).reshape(-1, 4)
    index_N = np.flatnonzero(np.isfinite(boxes_N4).all(1))
    whole_N4 = whole_pixels(boxes_N4[index_N], width, height)
    shares_N: Floats = np.clip(whole_N4[:, 2:] - whole_N4[:, :2], 0, None).prod(1) / (width * height)
    sized_N = np.flatnonzero((shares_N >= limits.min_area) & (shares_N <= limits.max_area) & (shares_N > 0))
    index_N, whole_N4 = index_N[sized_N], whole_N4[sized_N]
    kept_N = nms(whole_N4, np.asarray(scores_N)[index_N], limits.nms_iou)[: limits.max_regions]
    return [(as_box(whole_N4[kept]), int(index_N[kept])) for kept in kept_N]


def as_box(box_4: npt.NDArray[np.int64]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in box_4)
    return x1, y1, x2, y2
