"""Boxes in the upright image, and where they land on the square a model sees.

A box is `x1, y1, x2, y2` in pixels, half-open, in the image as a person sees it (EXIF orientation applied). An `ImageFit` says how
an image of any size becomes the model's square input; boxes go through the same fit as the pixels.
"""

from dataclasses import dataclass
from typing import Literal

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class ImageFit:
    """How an upright image becomes the model's square input.

    mode: `crop` resizes the short side to `resize` and cuts the central `size` x `size` (CLIP); `squash` resizes both sides to
        `size` (SigLIP); `pad` resizes the long side to `size` and centres it on a background.
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
