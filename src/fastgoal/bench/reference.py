"""The obvious way of doing each stage, for benchmarks to compare with; nothing but `bench` imports it.

Written from a description of how GOAL's released code works (no line of it was seen here), with its costs and without
its mistakes where a mistake costs no time.

Shapes: B samples, T tokens, P patches, W tower width, D joint dimensions, Q queries, N items.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fastgoal.data.images import fit_pixels, read_image
from fastgoal.geometry import Box, ImageFit
from fastgoal.regions import Region, SamRegions, masks
from fastgoal.regions.select import select


def joint_map(
    query_QD: torch.Tensor, item_ND: torch.Tensor, query_group: Sequence[int], item_group: Sequence[int], k: int = 10
) -> list[float]:
    """AP@k of every query, by all scores at once and a loop in Python over queries and items.

    Every item of the query's group is right; of equal scores the wrong items stand first.
    """
    sim_QN = query_QD @ item_ND.T
    return [
        _average_precision(sim_N.tolist(), [group == own for group in item_group], k)
        for sim_N, own in zip(sim_QN, query_group, strict=True)
    ]


def _average_precision(scores: list[float], right: list[bool], k: int) -> float:
    order = sorted(range(len(scores)), key=right.__getitem__)
    order.sort(key=scores.__getitem__, reverse=True)  # keeps the order of equal ones
    hits, total = 0, 0.0
    for place, item in enumerate(order[:k], start=1):
        if right[item]:
            hits += 1
            total += hits / place
    return total / sum(right)


def two_decodes(data: bytes, fit: ImageFit, box: Box) -> list[npt.NDArray[np.uint8]]:
    """The views of a whole image and of one of its crops, each from a decode of its own: uint8 H x W x C."""
    return [fit_pixels(read_image(data), fit, view) for view in (None, box)]


@torch.inference_mode()
def full_resolution_regions(sam: SamRegions, image: Image.Image) -> list[Region]:
    """The regions of `sam` from masks of the image's own size, with the same points, filters and limits.

    As Segment Anything's own generator and transformers' pipeline do it: all masks of a batch of points are enlarged,
    then filtered.
    """
    inputs = sam.processor(images=[image], return_tensors="pt")
    height, width = map(int, inputs["reshaped_input_sizes"][0])
    pixels = inputs["pixel_values"].to(sam.device)
    frame = masks.Frame(
        width=image.width, height=image.height, inner_width=width, inner_height=height, side=pixels.shape[-1]
    )
    embedding = sam.model.get_image_embeddings(pixels)
    boxes, scores = [], []
    for points_P2 in torch.split(masks.point_grid(sam.points, frame).to(sam.device), sam.batch):
        out = sam.model(image_embeddings=embedding, input_points=points_P2[None, :, None], multimask_output=True)
        (full_P3HW,) = sam.processor.post_process_masks(
            out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
        )
        boxes_N4, iou_N = _full_boxes(sam, full_P3HW.flatten(0, 1), out.iou_scores.flatten())
        boxes.append(boxes_N4)
        scores.append(iou_N)
    boxes_N4, iou_N = torch.cat(boxes), torch.cat(scores)
    kept = select(boxes_N4.numpy(), iou_N.numpy(), image.width, image.height, sam.box_limits)
    return [Region(box=box, source="sam", score=min(1.0, float(iou_N[index]))) for box, index in kept]


def _full_boxes(sam: SamRegions, logits_NHW: torch.Tensor, iou_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounding boxes (N x 4) and predicted IoUs of the masks that pass, mask by mask."""
    boxes, scores = [], []
    for logits_HW, iou in zip(logits_NHW, iou_N, strict=True):
        if iou < sam.iou_threshold:
            continue
        sure, possible = (logits_HW > sam.stability_offset).sum(), (logits_HW > -sam.stability_offset).sum()
        if sure / possible.clamp(min=1) < sam.stability_threshold:
            continue
        mask_HW = logits_HW > 0
        share = float(mask_HW.float().mean())
        if not share or not sam.mask_limits.min_area <= share <= sam.mask_limits.max_area:
            continue
        rows, columns = mask_HW.any(1).nonzero().flatten(), mask_HW.any(0).nonzero().flatten()
        boxes.append(torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).cpu())
        scores.append(iou.cpu())
    return torch.stack(boxes) if boxes else torch.empty(0, 4), torch.stack(scores) if scores else torch.empty(0)
