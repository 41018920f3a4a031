"""Boxes against obvious loops; patch weights against masks pushed through transformers' own image processor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.geometry import ImageFit, area, clip_box, covered, iou_matrix, nms, patch_weights, placement

BOX_FILTER = 4  # Pillow: every output pixel is the plain mean of the input pixels under it
SIZES = [(640, 480), (300, 500), (224, 224), (1000, 260), (333, 517), (100, 90)]


def random_boxes(rng, count, width, height):
    x = np.sort(rng.integers(0, width, (count, 2)), axis=1)
    y = np.sort(rng.integers(0, height, (count, 2)), axis=1)
    return np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], axis=1)


def pixels_of(box):
    x1, y1, x2, y2 = box
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def test_iou_and_area_count_pixels():
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 12, 20, 15), random_boxes(rng, 9, 20, 15)
    got = iou_matrix(a, b)
    assert got.shape == (12, 9)
    for i, box in enumerate(a.tolist()):
        assert area(tuple(box)) == len(pixels_of(box))
        for j, other in enumerate(b.tolist()):
            both, either = pixels_of(box) & pixels_of(other), pixels_of(box) | pixels_of(other)
            assert got[i, j] == pytest.approx(len(both) / len(either))
            assert covered(tuple(box), tuple(other)) == pytest.approx(len(both) / len(pixels_of(box)))


def test_empty_boxes_have_no_area_and_no_overlap():
    empty, inverted, full = (5, 5, 5, 9), (8, 8, 2, 2), (0, 0, 10, 10)
    assert area(empty) == area(inverted) == 0
    assert covered(empty, full) == covered(full, inverted) == 0
    assert (iou_matrix([empty, inverted], [full, empty]) == 0).all()
    assert iou_matrix([], [full]).shape == (0, 1)


def test_clip_box_keeps_the_part_inside():
    assert clip_box((-5, 2, 30, 40), 20, 30) == (0, 2, 20, 30)
    assert area(clip_box((-9, -9, -1, -1), 20, 30)) == 0
    assert area(clip_box((25, 5, 35, 9), 20, 30)) == 0


def slow_nms(boxes, scores, threshold):
    left, kept = sorted(range(len(boxes)), key=lambda i: (-scores[i], i)), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if iou_matrix([boxes[best]], [boxes[i]])[0, 0] <= threshold]
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_is_the_greedy_loop(threshold):
    rng = np.random.default_rng(1)
    boxes, scores = random_boxes(rng, 60, 50, 40), rng.integers(0, 20, 60) / 20  # many equal scores
    assert nms(boxes, scores, threshold).tolist() == slow_nms(boxes, scores, threshold)


def test_nms_of_nothing_and_of_twins():
    assert nms(np.zeros((0, 4)), [], 0.5).tolist() == []
    assert nms([[0, 0, 4, 4]] * 3 + [[9, 9, 10, 10]], [0.1, 0.9, 0.9, 0.5], 0.5).tolist() == [1, 3]


def processor_for(fit, resample):
    if fit.mode == "squash":
        return CLIPImageProcessorPil(
            size={"height": fit.size, "width": fit.size}, do_center_crop=False, resample=resample
        )
    size = {"shortest_edge": fit.resize}
    if fit.mode == "pad":
        size = {"shortest_edge": fit.size, "longest_edge": fit.size}
    return CLIPImageProcessorPil(size=size, crop_size={"height": fit.size, "width": fit.size}, resample=resample)


def mask_through_processor(box, width, height, fit):
    """The box as a white rectangle, as the processor shows it to the model: H x W in 0..1."""
    mask = np.zeros((height, width, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    mask[y1:y2, x1:x2] = 255
    processor = processor_for(fit, BOX_FILTER)
    return processor(mask, do_normalize=False, return_tensors="np")["pixel_values"][0, 0]


def patch_means(mask_HW, grid):
    side = mask_HW.shape[0] // grid
    mask_HW = mask_HW[: grid * side, : grid * side]
    return mask_HW.reshape(grid, side, grid, side).mean((1, 3)).reshape(-1)


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize(("size", "patch"), [(224, 14), (224, 16), (224, 32), (96, 12), (230, 16)])
def test_patch_weights_follow_a_mask_through_the_processor(mode, size, patch):
    rng = np.random.default_rng(size + patch)
    fit, grid = ImageFit(mode=mode, size=size, resize=size + 16), size // patch
    for width, height in SIZES:
        for box in random_boxes(rng, 6, width, height).tolist():
            seen = patch_means(mask_through_processor(box, width, height, fit), grid)
            share = patch_weights([box], [(width, height)], fit, grid, rule="area")[0]
            # The processor blurs each edge over at most one pixel of a patch's side, two edges per axis.
            np.testing.assert_allclose(share, seen, atol=2.2 / patch)
            overlap = patch_weights([box], [(width, height)], fit, grid)[0]
            assert set(np.unique(overlap)) <= {0.0, 1.0}
            np.testing.assert_array_equal(overlap, share > 0)
            inside = patch_weights([box], [(width, height)], fit, grid, rule="inside")[0]
            np.testing.assert_array_equal(inside, share == 1)
            assert (overlap[seen > 1.2 / patch] == 1).all()
            assert (inside[seen < 1 - 2.2 / patch] == 0).all()


@pytest.mark.parametrize("patch", [12, 14, 16, 32])
def test_patch_weights_are_exact_where_the_fit_is(patch):
    """Halving 448 x 672 images with even box edges blurs nothing, so mask and weights agree to the last patch."""
    rng = np.random.default_rng(patch)
    size = 224 if patch != 12 else 216
    fit, grid = ImageFit(size=size, resize=size), size // patch
    width, height = 2 * size, 3 * size
    boxes = random_boxes(rng, 20, width // 2, height // 2) * 2
    seen = np.stack([patch_means(mask_through_processor(box, width, height, fit), grid) for box in boxes.tolist()])
    sizes = np.tile([width, height], (20, 1))
    np.testing.assert_array_equal(patch_weights(boxes, sizes, fit, grid), seen > 0)
    np.testing.assert_array_equal(patch_weights(boxes, sizes, fit, grid, rule="inside"), seen > 1 - 1e-6)
    np.testing.assert_allclose(patch_weights(boxes, sizes, fit, grid, rule="area"), seen, atol=1e-5)


def test_a_box_that_is_cropped_away_has_no_patches():
    fit = ImageFit()
    weights = patch_weights([(0, 0, 90, 200), (0, 0, 110, 200), (5, 5, 5, 9)], [(400, 200)] * 2 + [(200, 200)], fit, 14)
    assert weights.shape == (3, 196)
    assert weights.dtype == np.float32
    assert weights[0].sum() == weights[2].sum() == 0
    assert weights[1].reshape(14, 14)[:, 0].all()
    assert weights[1].sum() == 14


def test_edges_on_patch_edges_do_not_touch_the_next_patch():
    """Thirds and sevenths of odd sizes scale to patch edges only up to rounding."""
    fit = ImageFit(mode="squash", size=224)
    for side in (3 * 7 * 11, 49, 77, 700, 1001):
        weights = patch_weights([(side * 2 / 7, side / 7, side * 3 / 7, side * 6 / 7)], [(side, side)], fit, 7)
        expected = np.zeros((7, 7))
        expected[1:6, 2] = 1
        np.testing.assert_array_equal(weights[0].reshape(7, 7), expected)


def test_batched_patch_weights_are_the_single_ones():
    rng = np.random.default_rng(3)
    boxes = np.concatenate([random_boxes(rng, 1, *size) for size in SIZES])
    together = patch_weights(boxes, SIZES, ImageFit(), 16)
    apart = [patch_weights([box], [size], ImageFit(), 16)[0] for box, size in zip(boxes, SIZES, strict=True)]
    np.testing.assert_array_equal(together, np.stack(apart))
    assert patch_weights(np.zeros((0, 4)), np.zeros((0, 2)), ImageFit(), 16).shape == (0, 256)


def test_placement_of_an_odd_rest():
    assert placement(225, 224, ImageFit()).left == 0
    assert placement(227, 224, ImageFit()).left == -1
    assert placement(224, 112, ImageFit(mode="pad")).top == 56


CORNERS = st.tuples(*[st.floats(-300, 1200)] * 4)


@settings(max_examples=150, deadline=None)
@given(corners=CORNERS, width=st.integers(1, 900), height=st.integers(1, 900), patch=st.sampled_from([12, 14, 16]))
def test_squashed_patches_hold_the_boxs_share_of_the_image(corners, width, height, patch):
    x1, x2 = sorted(corners[::2])
    y1, y2 = sorted(corners[1::2])
    box = (x1, y1, x2, y2)
    fit, grid = ImageFit(mode="squash", size=14 * patch), 14
    inside = clip_box(box, width, height)
    share = area(inside) / (width * height)
    rules = ("area", "overlap", "inside")
    parts = {rule: patch_weights([box], [(width, height)], fit, grid, rule=rule)[0] for rule in rules}
    assert parts["area"].sum() / grid**2 == pytest.approx(share, abs=1e-5)
    assert (parts["inside"] <= parts["area"] + 1e-5).all()
    assert (parts["area"] <= parts["overlap"] + 1e-5).all()


def test_a_patch_that_a_box_only_touches_has_no_area():
    """Edges of patches, taken back to pixels of the image, come out a rounding error beside themselves."""
    fit, edges = ImageFit(mode="squash", size=96, resize=96), np.arange(9) / 8
    for width in range(97, 130):
        boxes = [(0, 0, edge * width, 50) for edge in edges[1:]]
        for rule in ("area", "overlap"):
            weights = patch_weights(boxes, [(width, 50)] * 8, fit, 8, rule=rule)
            assert (weights > 0).sum(axis=1).tolist() == [8 * count for count in range(1, 9)]
