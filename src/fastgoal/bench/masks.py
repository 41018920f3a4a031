"""LISM's regions from SAM's low-resolution masks, beside the same from masks of the image's own size.

The SAM is random, of the given shape: the work depends on the shapes alone. Random weights predict no sensible IoU, so
the threshold is set such that as many masks pass as usually do.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from fastgoal.bench import reference
from fastgoal.bench.harness import Row, alternate, rates
from fastgoal.bench.photograph import photo
from fastgoal.data.images import read_image
from fastgoal.regions import SamRegions, masks

PASSING = 0.2
"""Share of the masks that the predicted IoU lets through: about 600 of the 3,072 of a grid of 32 x 32 points."""


def lism(
    *,
    config: SamConfig | None = None,
    size: tuple[int, int] = (2000, 1500),
    points: int = 32,
    batch: int = 16,
    rounds: int = 1,
    device: str = "cpu",
) -> list[Row]:
    """`SamRegions` against `reference.full_resolution_regions`: what both do differently (from a batch's masks to its
    boxes), and whole images, where the tower and the decoder that both share are most of the work.

    Args:
        config: of the SAM; None is the shape of sam-vit-base.
        size: width and height of the image.
        points: per side of the grid.
        batch: points at once on both sides; enlarged masks of 2,000 x 1,500 px need 36 MB a point.
    """
    image = read_image(photo(*size))
    with TemporaryDirectory() as folder:
        save_random_sam(Path(folder), config or SamConfig())
        sam = SamRegions(folder, points=points, batch=batch, stability_threshold=0, device=device)
    sam.iou_threshold = _passing(sam, image)
    whole = {
        "ours": lambda: sam.propose([image]),
        "reference": lambda: reference.full_resolution_regions(sam, image),
    }
    of = f"of a {size[0]:,} x {size[1]:,} image, random SAM"
    alone = alternate(_from_masks(sam, image), max(3, rounds), device=device)
    together = alternate(whole, rounds, warm=False, device=device)
    return [
        rates(f"LISM: masks to boxes, {of}", "masks/s", 3 * min(batch, points**2), alone, aim=">= 2"),
        rates(f"LISM: regions {of}, {points} x {points} points", "images/s", 1, together),
    ]


@torch.inference_mode()
def _from_masks(sam: SamRegions, image: Image.Image) -> dict[str, Callable[[], object]]:
    """Both ways from the decoder's masks of one batch of points to boxes."""
    inputs = sam.processor(images=[image], return_tensors="pt")
    pixels, frame = inputs["pixel_values"].to(sam.device), masks.Frame.of(image, inputs)
    points_P2 = masks.point_grid(sam.points, frame)[: sam.batch].to(sam.device)
    out = sam.model(pixel_values=pixels, input_points=points_P2[None, :, None], multimask_output=True)
    small_NHW, iou_N = out.pred_masks[0].flatten(0, 1), out.iou_scores[0].flatten()
    return {
        "ours": lambda: sam.boxes(small_NHW, iou_N, frame, Counter()),
        "reference": lambda: reference.full_resolution_boxes(sam, out.pred_masks, out.iou_scores, inputs),
    }


def save_random_sam(folder: Path, config: SamConfig, seed: int = 0) -> None:
    """A SAM of random weights with its image processor; its masks are a quarter of its input, as SAM's are."""
    torch.manual_seed(seed)
    side = config.vision_config.image_size
    coarse = 4 * side // config.vision_config.patch_size
    SamModel(config).eval().save_pretrained(folder)
    SamImageProcessorPil(
        size={"longest_edge": side},
        pad_size={"height": side, "width": side},
        mask_size={"longest_edge": coarse},
        mask_pad_size={"height": coarse, "width": coarse},
    ).save_pretrained(folder)


@torch.inference_mode()
def _passing(sam: SamRegions, image: Image.Image) -> float:
    """The predicted IoU that `PASSING` of the masks of some points of the image reach."""
    pixels = sam.processor(images=[image], return_tensors="pt")["pixel_values"].to(sam.device)
    points_P2 = torch.rand(64, 2, generator=torch.Generator().manual_seed(0)).to(sam.device) * pixels.shape[-1]
    out = sam.model(pixel_values=pixels, input_points=points_P2[None, :, None], multimask_output=True)
    return float(np.quantile(out.iou_scores.flatten().cpu().numpy(), 1 - PASSING))
