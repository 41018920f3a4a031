"""From SAM's low-resolution mask logits to boxes of the original image, without enlarging a mask.

SAM sees an image resized to a long side of P pixels in the top left corner of a P x P square, and answers with logits
on a coarser grid (256 x 256 for 1024 x 1024). Enlarging thousands of masks to the size of the image costs more than
making them, and matching only wants boxes: the outermost low-resolution pixels above 0 give them to within one such
pixel. What lies over the padding is no part of the image and is cut off first.

Shapes: N masks; H, W low-resolution rows and columns, first those of the square, then those over the image.
Source: Segment Anything (arXiv 2304.02643), appendix B, for the stability score.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """How an image lies in the square that SAM sees. width, height: of the original. inner_width, inner_height: of the
    resized image, in pixels of the square. side: of the square."""

    width: int
    height: int
    inner_width: int
    inner_height: int
    side: int

    @classmethod
    def of(cls, image: Image.Image, inputs: Mapping[str, Any]) -> "Frame":
        """inputs: what SAM's processor made of the image."""
        height, width = map(int, inputs["reshaped_input_sizes"][0])
        side = int(inputs["pixel_values"].shape[-1])
        return cls(width=image.width, height=image.height, inner_width=width, inner_height=height, side=side)


def point_grid(count: int, frame: Frame) -> torch.Tensor:
    """The centres of `count` x `count` equal cells of the image, row by row, in pixels of the square: count ** 2, 2."""
    steps = (torch.arange(count, dtype=torch.float32) + 0.5) / count
    y, x = torch.meshgrid(steps * frame.inner_height, steps * frame.inner_width, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def over_image(logits_NHW: torch.Tensor, frame: Frame) -> torch.Tensor:
    """The logits whose low-resolution pixels lie at least partly over the image, not over the padding."""
    stride = frame.side / logits_NHW.shape[-1]
    return logits_NHW[:, : math.ceil(frame.inner_height / stride), : math.ceil(frame.inner_width / stride)]


def stability(logits_NHW: torch.Tensor, offset: float) -> torch.Tensor:
    """How little each mask changes with its threshold: its size at `+offset` over its size at `-offset`; 0 if empty."""
    sure_N = (logits_NHW > offset).flatten(1).sum(1)
    possible_N = (logits_NHW > -offset).flatten(1).sum(1)
    return sure_N / possible_N.clamp(min=1)


def shares(mask_NHW: torch.Tensor, frame: Frame, stride: float) -> torch.Tensor:
    """The share of the image that each mask covers; a low-resolution pixel half over the padding counts half."""
    rows_H, columns_W = (
        (inner - stride * torch.arange(count, device=mask_NHW.device)).clamp(max=stride) / inner
        for inner, count in zip((frame.inner_height, frame.inner_width), mask_NHW.shape[1:], strict=True)
    )
    return (mask_NHW.to(rows_H.dtype) @ columns_W @ rows_H).clamp(max=1)  # rounding must not exceed a limit of 1


def boxes(mask_NHW: torch.Tensor, frame: Frame, stride: float) -> torch.Tensor:
    """The bounding box of each mask in pixels of the original image, N x 4 on the CPU; all 0 for an empty mask."""
    (x1_N, x2_N), (y1_N, y2_N) = _extent(mask_NHW.any(1)), _extent(mask_NHW.any(2))
    coarse_N4 = torch.stack([x1_N, y1_N, x2_N, y2_N], dim=1).cpu().double() * stride
    inner_4 = coarse_N4.new_tensor([frame.inner_width, frame.inner_height] * 2)
    outer_4 = coarse_N4.new_tensor([frame.width, frame.height] * 2)
    return torch.minimum(coarse_N4, inner_4) * (outer_4 / inner_4)


def _extent(line_NL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first true place of each line and the one after the last; 0 and 0 where there is none."""
    line_NL = line_NL.to(torch.uint8)
    length, some_N = line_NL.shape[1], line_NL.amax(1)
    return line_NL.argmax(1) * some_N, (length - line_NL.flip(1).argmax(1)) * some_N
