"""Boxes, shares and stability of low-resolution masks against the same read off full-resolution ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil, _compute_stability_score

from fastgoal.regions import masks

SIDE, STRIDE = 64, 4
COARSE = SIDE // STRIDE


def frame_of(width: int, height: int) -> masks.Frame:
    """As SAM's processor resizes: the long side to SIDE, both rounded half up."""
    scale = SIDE / max(width, height)
    inner = [int(side * scale + 0.5) for side in (width, height)]
    return masks.Frame(width=width, height=height, inner_width=inner[0], inner_height=inner[1], side=SIDE)


SIZES = st.sampled_from([(64, 64), (200, 120), (120, 200), (90, 37), (33, 50), (640, 427), (31, 300)])


def enlarged(mask_HW: np.ndarray, frame: masks.Frame) -> np.ndarray:
    """Every coarse pixel as STRIDE x STRIDE pixels of the square, the padding cut off."""
    return np.kron(mask_HW, np.ones((STRIDE, STRIDE), dtype=bool))[: frame.inner_height, : frame.inner_width]


def box_of(mask_HW: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 0, 0]


@given(SIZES, st.integers(0, 2**32 - 1), st.floats(0, 0.2))
@settings(max_examples=60, deadline=None)
def test_boxes_and_shares_are_those_of_the_mask_enlarged_pixel_by_pixel(size, seed, density):
    frame = frame_of(*size)
    logits_NHW = torch.from_numpy(np.random.default_rng(seed).random((3, COARSE, COARSE)) - 1 + density)
    mask_NHW = masks.over_image(logits_NHW, frame) > 0
    scale = np.tile([frame.width / frame.inner_width, frame.height / frame.inner_height], 2)
    for logits_HW, box, share in zip(
        logits_NHW.numpy(), masks.boxes(mask_NHW, frame, STRIDE), masks.shares(mask_NHW, frame, STRIDE), strict=True
    ):
        full_HW = enlarged(logits_HW > 0, frame)
        np.testing.assert_allclose(box, np.array(box_of(full_HW)) * scale)
        assert share == pytest.approx(full_HW.mean(), abs=1e-6)


@given(SIZES, st.data())
@settings(max_examples=60, deadline=None)
def test_boxes_differ_from_those_of_full_masks_by_less_than_a_coarse_pixel(size, data):
    """A known mask at the image's own size, shrunk into the square as an image is, the padding full of junk."""
    frame, corners = frame_of(*size), []
    one_4 = np.tile([STRIDE * frame.width / frame.inner_width, STRIDE * frame.height / frame.inner_height], 2)
    for length, pixel in zip(size, one_4[:2], strict=True):
        least = min(length, int(2 * pixel) + 1)  # a thing of two coarse pixels cannot vanish
        start = data.draw(st.integers(0, length - least))
        corners.append((start, data.draw(st.integers(start + least, length))))
    (x1, x2), (y1, y2) = corners
    full_HW = torch.zeros(1, 1, size[1], size[0])
    full_HW[..., y1:y2, x1:x2] = 1
    inner = torch.nn.functional.interpolate(full_HW, (frame.inner_height, frame.inner_width), mode="area")
    square = torch.zeros(1, 1, SIDE, SIDE)
    square[..., : frame.inner_height, : frame.inner_width] = inner
    coarse_NHW = torch.nn.functional.avg_pool2d(square, STRIDE)[0] - 0.499
    coarse_NHW[:, -(-frame.inner_height // STRIDE) :] = 9
    coarse_NHW[..., -(-frame.inner_width // STRIDE) :] = 9
    box_4 = masks.boxes(masks.over_image(coarse_NHW, frame) > 0, frame, STRIDE)[0].numpy()
    assert (np.abs(box_4 - [x1, y1, x2, y2]) <= one_4 + 1e-6).all()


def test_stability_is_transformers_own_and_zero_for_nothing():
    logits_NHW = torch.randn(20, 16, 16, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(masks.stability(logits_NHW, 1.0), _compute_stability_score(logits_NHW, 0.0, 1))
    assert masks.stability(torch.full((1, 4, 4), -9.0), 1.0).tolist() == [0.0]


@pytest.mark.parametrize("size", [(64, 64), (200, 120), (37, 90)])
def test_the_grid_is_transformers_own(size):
    square = {"height": SIDE, "width": SIDE}
    processor = SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size=square)
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    _, points, *_ = processor.generate_crop_boxes(image, SIDE, points_per_crop=5)
    ours = masks.point_grid(5, frame_of(*size))
    torch.testing.assert_close(ours, points.reshape(-1, 2).float(), atol=1e-4, rtol=0)
