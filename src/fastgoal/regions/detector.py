"""Regions from an object detector: any model that transformers loads as `AutoModelForObjectDetection`.

YOLOS is FAST-GOAL's choice; DETR, RT-DETR and D-FINE are called the same way. The one idea: images are batched only
with images that have the same size after the detector's own resize. Then nothing is padded, and a box depends neither
on batch mates (a YOLOS has no padding mask) nor on whether a detector's 0..1 coordinates include the padding.

Shapes: B images of one size; N detections of one image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForObjectDetection

from fastgoal.devices import to_device
from fastgoal.errors import ConfigError
from fastgoal.regions.loading import OBJECT_DETECTORS, Kind, load
from fastgoal.regions.region import Region
from fastgoal.regions.select import Limits, select

KIND = Kind(
    name="an object detector",
    types=OBJECT_DETECTORS,
    processor="post_process_object_detection",
    example="a YOLOS, DETR, RT-DETR or D-FINE",
)

_THIN = 4
"""Sides to one another from which an image may be too thin for a detector, whose resize rounds to whole patches."""


class DetectorRegions:
    """A detector's boxes, best first: score threshold, area limits, class-agnostic suppression, at most `max_regions`.

    Args:
        model: local folder (never touches the network) or hub id.
        score_threshold: detections must score above it. FAST-GOAL states none; a low one suits matching, which chooses
            by the sentence anyway.
        nms_iou: of two boxes with a larger IoU only the better one stays, whatever their labels.
        min_area, max_area: limits on a box's area as shares of the image (GOAL's 1 % and 80 %).
        max_regions: at most so many per image.
        batch: images per forward pass.
        device: where the detector runs.

    Raises:
        ConfigError: a setting is out of range.
        ModelError: `model` is no detector, or cannot be loaded; a device that is not there.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        score_threshold: float = 0.3,
        nms_iou: float = 0.7,
        min_area: float = 0.01,
        max_area: float = 0.8,
        max_regions: int = 20,
        batch: int = 8,
        device: str | torch.device = "cpu",
    ) -> None:
        if batch < 1:
            raise ConfigError(f"a batch of {batch} images is none", where="batch", mend="Give 1 or more.")
        expect_score(score_threshold)
        self.limits = Limits(min_area=min_area, max_area=max_area, nms_iou=nms_iou, max_regions=max_regions)
        self.name, self.score_threshold, self.batch = str(model), score_threshold, batch
        self.processor, self.model = load(model, KIND, AutoModelForObjectDetection)
        to_device(self.model, device)
        self.device = torch.device(device)

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        """Regions of each upright RGB image, in the order of the images; none where its resize leaves no width."""
        regions: list[list[Region]] = [[] for _ in images]
        names = self.model.config.id2label.get
        inputs = {index: pixels for index, image in enumerate(images) if (pixels := self._input(image)) is not None}
        for indices in _same_shapes(inputs, self.batch):
            detections = self._detect(torch.stack([inputs[i] for i in indices]), [images[i] for i in indices])
            for index, detection in zip(indices, detections, strict=True):
                regions[index] = read_detection(detection, images[index], self.limits, names)
        return regions

    def _input(self, image: Image.Image) -> torch.Tensor | None:
        """Pixels C x H x W after the detector's own resize; None where that leaves nothing of the shorter side."""
        try:
            pixels_CHW: torch.Tensor = self.processor(images=[image], return_tensors="pt")["pixel_values"][0]
        except ValueError:
            if max(image.size) < _THIN * min(image.size):
                raise
            return None
        return pixels_CHW

    @torch.inference_mode()
    def _detect(self, pixels_BCHW: torch.Tensor, images: Sequence[Image.Image]) -> list[dict[str, torch.Tensor]]:
        outputs = self.model(pixel_values=pixels_BCHW.to(self.device))
        sizes_B2 = torch.tensor([(image.height, image.width) for image in images], device=self.device)
        detections: list[dict[str, torch.Tensor]] = self.processor.post_process_object_detection(
            outputs, threshold=self.score_threshold, target_sizes=sizes_B2
        )
        return detections


def expect_score(threshold: float) -> None:
    """Refuse a score threshold outside 0..1."""
    if not 0 <= threshold <= 1:
        mend = "Give a number between 0 and 1."
        raise ConfigError(f"{threshold} is no score threshold", where="score_threshold", mend=mend)


def read_detection(
    detection: Mapping[str, torch.Tensor], image: Image.Image, limits: Limits, name: Callable[[int], str | None]
) -> list[Region]:
    """The regions in what transformers' post-processing found in one image; `name` gives the label of a class."""
    boxes_N4, scores_N = (detection[key].float().cpu().numpy().astype(np.float64) for key in ("boxes", "scores"))
    kept, labels = select(boxes_N4, scores_N, image.width, image.height, limits), detection["labels"].tolist()
    return [
        Region(box=box, source="detector", score=float(scores_N[index]), label=name(labels[index]))
        for box, index in kept
    ]


def _same_shapes(inputs: Mapping[int, torch.Tensor], batch: int) -> Iterator[list[int]]:
    """The inputs' indices in batches of one shape each."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, pixels_CHW in inputs.items():
        by_shape.setdefault(tuple(pixels_CHW.shape), []).append(index)
    for indices in by_shape.values():
        for start in range(0, len(indices), batch):
            yield indices[start : start + batch]
