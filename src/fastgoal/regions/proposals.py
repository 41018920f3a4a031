"""Regions without a model: what stands out from its ground, by colour alone.

The one idea: how unlike the ground a pixel is. The ground is modelled twice on a small copy of the image, once for the
whole image (a robust Gaussian of colour) and once around every pixel (a wide median); the smaller of the two distances
is large on objects and small on textures, on slow changes of light and on the second of two grounds. Cutting it at
several heights, as maximally stable extremal regions do, gives connected pieces; their boxes are the proposals. Colours
that touch stay together, so a striped ball is one region, and so are two things that touch. It is meant for objects on
a ground; crowded photographs want a detector.

Shapes: H, W the small copy; 3 colour channels (light, red-blue, green-magenta); N candidate boxes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from fastgoal.regions.region import Region
from fastgoal.regions.select import Limits, select

Map = npt.NDArray[np.float32]
Corners = tuple[int, int, int, int]

_LEVELS = (2.0, 3.0, 4.5, 6.5, 10.0)  # heights of the cuts, in standard deviations of the ground
_MARGIN_4 = 0.75 * np.array([-1, -1, 1, 1])  # small pixels: edges are half ground, and a crop should not cut its thing
_CEILING = 12.0  # beyond this, more contrast says nothing more about being an object
_NOISE = 3.0  # grey levels: no ground is taken to be smoother than this
_KEEP, _ROUNDS = 0.7, 3  # share of pixels taken as ground, rounds of the robust fit
_WINDOW = 0.5  # side of the median's window, as a share of the longer side
_STRIDE = 8  # the median looks at every eighth pixel each way: its window is wide, and medians are dear


class ProposalRegions:
    """Boxes of whatever stands out from its ground, best first; about 10 ms an image on one core.

    Args:
        min_area, max_area: limits on a box's area as shares of the image (the default: 18 px square and more at 320).
        nms_iou: of two boxes with a larger IoU only the better one stays.
        max_regions: at most so many per image.
        side: longer side of the small copy, in pixels; objects below about a fifteenth of it are lost in texture.
    """

    def __init__(
        self,
        *,
        min_area: float = 0.003,
        max_area: float = 0.5,
        nms_iou: float = 0.7,
        max_regions: int = 12,
        side: int = 128,
    ) -> None:
        self.limits = Limits(min_area=min_area, max_area=max_area, nms_iou=nms_iou, max_regions=max_regions)
        self.side = side

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        return [self._propose_one(image) for image in images]

    def _propose_one(self, image: Image.Image) -> list[Region]:
        colours_HW3 = _colours(image, self.side)
        height, width = colours_HW3.shape[:2]
        distance_HW = np.minimum(_from_whole(colours_HW3), _from_surround(colours_HW3))
        contrast_HW = np.minimum(distance_HW / _CEILING, 1)
        found = [piece for mask in _masks(distance_HW) for piece in _pieces(mask, contrast_HW, self.limits)]
        scale_4 = np.tile([image.width / width, image.height / height], 2)
        boxes_N4 = (np.array([box for box, _ in found]).reshape(-1, 4) + _MARGIN_4) * scale_4
        scores_N = np.array([score for _, score in found])
        kept = select(boxes_N4, scores_N, image.width, image.height, self.limits)
        return [Region(box=box, source="proposal", score=float(scores_N[index])) for box, index in kept]


def _colours(image: Image.Image, side: int) -> Map:
    """The small copy in opponent colours. Averaging while shrinking also smooths fine texture away."""
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    red, green, blue = np.moveaxis(np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float32), -1, 0)
    return np.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2], axis=-1)


def _from_whole(colours_HW3: Map) -> Map:
    """Mahalanobis distance of each pixel from the colours of most pixels, refitted on those nearest to the last fit."""
    pixels_N3 = colours_HW3.reshape(-1, 3)
    sample_N3 = ground_N3 = pixels_N3[:: max(1, len(pixels_N3) // 4096)]
    for _ in range(_ROUNDS):
        whitened_N3 = _whiten(sample_N3, ground_N3)
        squared_N = np.square(whitened_N3).sum(1)
        ground_N3 = sample_N3[squared_N <= np.quantile(squared_N, _KEEP)]
    distance_N: Map = np.sqrt(np.square(_whiten(pixels_N3, ground_N3)).sum(1))
    return distance_N.reshape(colours_HW3.shape[:2])


def _whiten(pixels_N3: Map, ground_N3: Map) -> Map:
    """Pixels in units of the ground's standard deviations, so that Euclidean length is Mahalanobis distance."""
    covariance_33 = np.atleast_2d(np.cov(ground_N3, rowvar=False, bias=True)) + _NOISE**2 * np.eye(3)
    root_33 = np.linalg.cholesky(np.linalg.inv(covariance_33))
    whitened_N3: Map = (pixels_N3 - ground_N3.mean(0)) @ root_33.astype(np.float32)
    return whitened_N3


def _from_surround(colours_HW3: Map) -> Map:
    """Distance of each pixel from the median of the wide window around it, in units of the image's usual deviation."""
    height, width = colours_HW3.shape[:2]
    thinned = np.ascontiguousarray(colours_HW3[::_STRIDE, ::_STRIDE])
    window = max(1, round(_WINDOW * max(thinned.shape[:2])))
    channels = []
    for channel in range(3):
        ground = Image.fromarray(ndimage.median_filter(thinned[..., channel], size=window))
        surround_HW = np.asarray(ground.resize((width, height), Image.Resampling.BILINEAR))
        rest_HW = np.abs(colours_HW3[..., channel] - surround_HW)
        channels.append(rest_HW / (1.48 * np.median(rest_HW) + _NOISE))  # 1.48 medians are a deviation of a normal
    distance_HW: Map = np.sqrt(np.square(channels).sum(0))
    return distance_HW


def _masks(distance_HW: Map) -> Iterator[npt.NDArray[np.bool_]]:
    """The map cut at each level, as it is and with gaps of a pixel closed: closing mends grids and joins neighbours."""
    for level in _LEVELS:
        above_HW = distance_HW > level
        yield above_HW
        yield ndimage.binary_closing(np.pad(above_HW, 1))[1:-1, 1:-1]  # padded: closing wears off the image's own edge


def _pieces(above_HW: npt.NDArray[np.bool_], contrast_HW: Map, limits: Limits) -> Iterator[tuple[Corners, float]]:
    """The connected pieces of a mask: the box in small pixels, and a score in 0..1.

    The score is the mean contrast times how well the piece fills its box (half full, as a star or a ring is, is full
    marks), less for a box below a hundredth of the image, which is more likely a speck of texture.
    """
    labels_HW, count = ndimage.label(above_HW)
    sizes_N = np.bincount(labels_HW.ravel(), minlength=count + 1)[1:]
    totals_N = np.bincount(labels_HW.ravel(), weights=contrast_HW.ravel(), minlength=count + 1)[1:]
    smallest = limits.min_area * above_HW.size
    for (rows, columns), size, total in zip(ndimage.find_objects(labels_HW), sizes_N, totals_N, strict=True):
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        if area >= smallest:
            score = total / size * min(1.0, 2 * size / area) * min(1.0, 100 * area / above_HW.size) ** 0.5
            yield (columns.start, rows.start, columns.stop, rows.stop), float(score)
