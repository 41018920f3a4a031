"""Regions from SAM's masks of everything: the sources of GOAL's LISM (arXiv 2503.17782).

A grid of points prompts SAM, every point gives three masks, and what passes the filters gives a box each; the crop
keeps the background. The one idea: the image is embedded once, points are decoded in batches, and boxes are read off
the low-resolution masks (see `masks`). This is Segment Anything's automatic mask generation (arXiv 2304.02643) without
its crops of the image and without torchvision.

Shapes: P points of the grid; N masks, three per point; H, W low-resolution rows and columns.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import SamModel

from fastgoal.devices import to_device
from fastgoal.errors import ConfigError, ModelError
from fastgoal.geometry import Floats
from fastgoal.regions import masks
from fastgoal.regions.loading import Kind, load
from fastgoal.regions.region import Region
from fastgoal.regions.select import Limits, select

DEFAULT_SAM = "facebook/sam-vit-huge"
KIND = Kind(name="a SAM", types={"sam"}, processor="post_process_masks", example=f"a SAM, such as {DEFAULT_SAM},")
_COUNTING = threading.Lock()


class SamRegions:
    """The boxes of SAM's masks, best predicted IoU first.

    Args:
        model: local folder (never touches the network) or hub id of a SAM (not SAM 2 or 3).
        points: points per side of the grid.
        iou_threshold: least IoU that SAM predicts for a mask; also the region's score.
        stability_threshold: least ratio of the mask's sizes at logits above `+stability_offset` and above its negative.
        min_area, max_area: limits on a mask's area as shares of the image (GOAL's 1 %; its released code's 80 %).
        max_box: a box of a larger share of the image is the whole image by another name, and dropped; the paper is
            silent.
        nms_iou: of two boxes with a larger IoU only the better one stays.
        max_regions: at most so many per image.
        batch: points per pass of the mask decoder.
        device: where SAM runs.

    Raises:
        ConfigError: a setting is out of range.
        ModelError: `model` is no SAM, or cannot be loaded; a device that is not there.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_SAM,
        *,
        points: int = 32,
        iou_threshold: float = 0.88,
        stability_threshold: float = 0.95,
        stability_offset: float = 1.0,
        min_area: float = 0.01,
        max_area: float = 0.8,
        max_box: float = 0.95,
        nms_iou: float = 0.7,
        max_regions: int = 100,
        batch: int = 64,
        device: str | torch.device = "cpu",
    ) -> None:
        for name, value in {"points": points, "batch": batch}.items():
            if value < 1:
                raise ConfigError(f"{value} points are none", where=name, mend="Give 1 or more.")
        self.mask_limits = Limits(min_area=min_area, max_area=max_area)
        self.box_limits = Limits(min_area=0, max_area=max_box, nms_iou=nms_iou, max_regions=max_regions)
        self.points, self.iou_threshold = points, iou_threshold
        self.stability_threshold, self.stability_offset = stability_threshold, stability_offset
        self.name, self.batch = str(model), batch
        self.processor, self.model = load(model, KIND, SamModel)
        _expect_same_side(self.processor, self.model, model)
        to_device(self.model, device)
        self.device = torch.device(device)
        self.tally: Counter[str] = Counter()

    @property
    def stages(self) -> Mapping[str, int]:
        """How many masks were left after each filter, over all images so far."""
        return dict(self.tally)

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        """Regions of each upright RGB image; none where no mask passes."""
        return [self._propose_one(image) for image in images]

    @torch.inference_mode()
    def _propose_one(self, image: Image.Image) -> list[Region]:
        inputs = self.processor(images=[image], return_tensors="pt")
        frame = masks.Frame.of(image, inputs)
        embedding = self.model.get_image_embeddings(inputs["pixel_values"].to(self.device))
        points_P2 = masks.point_grid(self.points, frame).to(self.device)
        passed, counts = [], Counter[str]()
        for some_P2 in torch.split(points_P2, self.batch):
            out = self.model(image_embeddings=embedding, input_points=some_P2[None, :, None], multimask_output=True)
            passed.append(self.boxes(out.pred_masks[0].flatten(0, 1), out.iou_scores[0].flatten(), frame, counts))
        boxes_N4, iou_N = (np.concatenate(parts) for parts in zip(*passed, strict=True))
        kept = select(boxes_N4, iou_N, image.width, image.height, self.box_limits)
        counts["regions"] = len(kept)
        with _COUNTING:
            self.tally.update(counts)
        return [Region(box=box, source="sam", score=min(1.0, float(iou_N[index]))) for box, index in kept]

    def boxes(
        self, logits_NHW: torch.Tensor, iou_N: torch.Tensor, frame: masks.Frame, counts: Counter[str]
    ) -> tuple[Floats, Floats]:
        """Boxes (N x 4, original pixels) and predicted IoUs of the masks that pass, stage by stage.

        Args:
            logits_NHW: the decoder's masks of the padded input, as small as they come.
            iou_N: their predicted IoUs.
            counts: how many are left after each stage is added here.
        """
        stride = frame.side / logits_NHW.shape[-1]
        counts["masks"] += len(iou_N)
        kept = iou_N >= self.iou_threshold
        logits_NHW, iou_N = masks.over_image(logits_NHW[kept], frame), iou_N[kept]
        counts["predicted IoU"] += len(iou_N)
        kept = masks.stability(logits_NHW, self.stability_offset) >= self.stability_threshold
        mask_NHW, iou_N = logits_NHW[kept] > 0, iou_N[kept]
        counts["stability"] += len(iou_N)
        share_N = masks.shares(mask_NHW, frame, stride)
        kept = (share_N >= self.mask_limits.min_area) & (share_N <= self.mask_limits.max_area) & (share_N > 0)
        mask_NHW, iou_N = mask_NHW[kept], iou_N[kept]
        counts["mask area"] += len(iou_N)
        return masks.boxes(mask_NHW, frame, stride).numpy(), iou_N.cpu().numpy()


def _expect_same_side(processor: Any, model: Any, where: str | Path) -> None:
    padded, takes = processor.pad_size["height"], model.config.vision_config.image_size
    if padded != takes:
        what = f"its preprocessor_config.json pads images to {padded} px, but the model takes {takes}"
        raise ModelError(what, where=where, mend="Use the preprocessor_config.json that came with the model.")
