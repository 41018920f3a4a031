"""Boxes in the upright image, and where they land on the square a model sees.

A box is `x1, y1, x2, y2` in pixels, half-open, in the image as a person sees it (EXIF orientation applied). An
`ImageFit` says how an image of any size becomes the model's square input; boxes go through the same fit as the pixels,
so a box that the central crop cuts away has no patches at all. The one idea: a fit is a resize and an offset per axis
(`placement`), shared by pixels and boxes.

Shapes: N, M boxes; B boxes of a batch, one per image; P = grid * grid patches, row by row; G grid; 4 = x1, y1, x2, y2.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Floats = npt.NDArray[np.float64]
PatchRule = Literal["overlap", "inside", "area"]

_TOLERANCE = 1e-6  # pixels; a box edge that is a patch edge up to rounding does not touch the next patch


@dataclass(frozen=True, kw_only=True)
class ImageFit:
    """How an upright image becomes the model's square input.

    mode: `crop` resizes the short side to `resize` and cuts the central `size` x `size` (CLIP); `squash` resizes both
        sides to `size` (SigLIP); `pad` resizes the long side to `size` and centres it on black.
    size: side of the model's input, in pixels.
    resize: short side before the crop (`crop` only; equal to `size` in CLIP).
    resample: Pillow's resampling filter (3 = bicubic).
    mean, std: per-channel normalisation of values in 0..1.
    """

    mode: Literal["crop", "squash", "pad"] = "crop"
    size: int = 224
    resize: int = 224
    resample: int = 3
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where an image resized to `width` x `height` lies on the square: corner (`left`, `top`), negative where cut."""

    width: int
    height: int
    left: int
    top: int


def placement(width: int, height: int, fit: ImageFit) -> Placement:
    """The resize and the offset that `fit` gives to an image, rounded as transformers' CLIP processor does."""
    resized_width, resized_height = _resized(width, height, fit)
    # Floor division: an odd rest leaves one pixel more on the far side when cutting, on the near side when padding.
    left, top = -((resized_width - fit.size) // 2), -((resized_height - fit.size) // 2)
    return Placement(width=resized_width, height=resized_height, left=left, top=top)


def _resized(width: int, height: int, fit: ImageFit) -> tuple[int, int]:
    if fit.mode == "squash":
        return fit.size, fit.size
    short, long = min(width, height), max(width, height)
    if fit.mode == "crop":
        new_short, new_long = fit.resize, int(fit.resize * long / short)
    else:
        new_short, new_long = max(1, round(fit.size * short / long)), fit.size
    return (new_short, new_long) if width <= height else (new_long, new_short)


def area(box: Box) -> float:
    """Area in square pixels; 0 for an empty or inverted box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def clip_box(box: Box, width: float, height: float) -> Box:
    """The part of `box` inside an image of `width` x `height` pixels (empty, with area 0, if there is none)."""
    x1, y1, x2, y2 = box
    return min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height)


def covered(box: Box, by: Box) -> float:
    """The share of `box` that lies inside `by`, 0..1; 0 for an empty `box`."""
    common = (max(box[0], by[0]), max(box[1], by[1]), min(box[2], by[2]), min(box[3], by[3]))
    return area(common) / area(box) if area(box) > 0 else 0.0


def iou_matrix(a_N4: npt.ArrayLike, b_M4: npt.ArrayLike) -> Floats:
    """Intersection over union of every box of `a` with every box of `b`, N x M; 0 where the union is empty."""
    a_N4, b_M4 = _boxes(a_N4), _boxes(b_M4)
    sides_NM2 = np.minimum(a_N4[:, None, 2:], b_M4[None, :, 2:]) - np.maximum(a_N4[:, None, :2], b_M4[None, :, :2])
    common_NM = np.clip(sides_NM2, 0, None).prod(-1)
    union_NM = _areas(a_N4)[:, None] + _areas(b_M4)[None, :] - common_NM
    iou_NM: Floats = np.divide(common_NM, union_NM, out=np.zeros_like(common_NM), where=union_NM > 0)
    return iou_NM


def nms(boxes_N4: npt.ArrayLike, scores_N: npt.ArrayLike, threshold: float) -> npt.NDArray[np.int64]:
    """Greedy, class-agnostic non-maximum suppression.

    Takes the best box, drops every box whose IoU with it is above `threshold`, and so on. Equal scores keep order.

    Returns: indices of the kept boxes, best first.
    """
    boxes_N4 = _boxes(boxes_N4)
    order = np.argsort(-np.asarray(scores_N, dtype=np.float64).reshape(-1), kind="stable")
    iou_NN = iou_matrix(boxes_N4, boxes_N4)
    alive_N = np.ones(len(boxes_N4), dtype=bool)
    kept: list[int] = []
    for index in order:
        if alive_N[index]:
            kept.append(int(index))
            alive_N &= iou_NN[index] <= threshold
            alive_N[index] = False
    return np.asarray(kept, dtype=np.int64)


def patch_weights(
    boxes_B4: npt.ArrayLike, sizes_B2: npt.ArrayLike, fit: ImageFit, grid: int, *, rule: PatchRule = "overlap"
) -> npt.NDArray[np.float32]:
    """Which patches of the model's input belong to each box.

    Args:
        boxes_B4: one box per image, in pixels of the upright image.
        sizes_B2: width and height of each upright image.
        fit: how the images became the model's input.
        grid: patches per side; a patch is `fit.size // grid` pixels wide, whatever that is.
        rule: `overlap` gives 1 to every patch that the box touches (FAST-GOAL's Algorithm 1), `inside` only to patches
            wholly in the box (GOAL's Eq. 9; a small box may have none), `area` the share of the patch that is covered.

    Returns: B x P weights; a row of zeros where the box is empty or wholly cropped away.
    """
    boxes_B4, sizes_B2 = _boxes(boxes_B4), np.asarray(sizes_B2, dtype=np.float64).reshape(-1, 2)
    placed = [placement(int(width), int(height), fit) for width, height in sizes_B2]
    scale_B2 = np.array([(p.width, p.height) for p in placed], dtype=np.float64).reshape(-1, 2) / sizes_B2
    offset_B2 = np.array([(p.left, p.top) for p in placed], dtype=np.float64).reshape(-1, 2)
    first_B2, last_B2 = (
        np.clip(corner_B2, 0, sizes_B2) * scale_B2 + offset_B2 for corner_B2 in np.split(boxes_B4, 2, 1)
    )
    patch = fit.size // grid
    starts_G = np.arange(grid, dtype=np.float64) * patch
    common_B2G = np.minimum(last_B2[:, :, None], starts_G + patch) - np.maximum(first_B2[:, :, None], starts_G)
    share_B2G = _share(common_B2G / patch, rule, _TOLERANCE / patch)
    return (share_B2G[:, 1, :, None] * share_B2G[:, 0, None, :]).reshape(len(boxes_B4), grid * grid).astype(np.float32)


def _share(share_B2G: Floats, rule: PatchRule, tolerance: float) -> Floats:
    """Per axis, the weight of each patch from the share of its width that the box covers."""
    if rule == "overlap":
        return (share_B2G > tolerance).astype(np.float64)
    if rule == "inside":
        return (share_B2G > 1 - tolerance).astype(np.float64)
    return np.where(share_B2G > tolerance, np.clip(share_B2G, 0, 1), 0)


def _boxes(boxes_N4: npt.ArrayLike) -> Floats:
    return np.asarray(boxes_N4, dtype=np.float64).reshape(-1, 4)


def _areas(boxes_N4: Floats) -> Floats:
    areas_N: Floats = np.clip(boxes_N4[:, 2:] - boxes_N4[:, :2], 0, None).prod(-1)
    return areas_N
