"""The obvious ways give what ours give; and nothing but the benchmarks leans on them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.regions.small import SIDE, save_small_sam
from tests.test_imports import imports, modules, room

from fastgoal.bench import reference
from fastgoal.bench.photograph import photo
from fastgoal.data.images import fit_pixels, read_image
from fastgoal.evaluation.metrics import average_precision, relevant_ranks
from fastgoal.geometry import ImageFit
from fastgoal.regions import SamRegions
from fastgoal.regions.select import Limits

ALL = {"iou_threshold": -99, "stability_threshold": 0, "min_area": 0, "max_area": 1, "max_box": 1, "nms_iou": 1,
       "max_regions": 9999, "points": 6}  # fmt: skip


def test_nothing_but_the_benchmarks_imports_them():
    users = {name for name, path in modules().items() if "fastgoal.bench.reference" in imports(path)}
    assert users
    assert {room(name) for name in users} == {"bench"}


@pytest.mark.parametrize(("items", "groups", "k"), [(60, 30, 10), (60, 60, 10), (90, 5, 3), (64, 40, 1)])
def test_joint_map_is_ours_exactly_ties_included(items, groups, k):
    # Whole numbers are exact in float32 however they are added, and make many scores equal.
    rng = np.random.default_rng(items + groups)
    own_Q = rng.integers(0, groups, items)
    own_N = rng.permutation(np.concatenate([np.arange(groups), rng.integers(0, groups, items - groups)]))
    centres = rng.integers(-1, 2, (groups, 6))
    query, item = (
        torch.from_numpy((centres[own] + rng.integers(-1, 2, (items, 6))).astype(np.float32)) for own in (own_Q, own_N)
    )
    assert len(torch.unique(query @ item.T)) < items
    ours = average_precision(relevant_ranks(query, item, own_Q, own_N, depth=k), k)
    theirs = reference.joint_map(query, item, own_Q.tolist(), own_N.tolist(), k)
    np.testing.assert_allclose(ours, theirs, rtol=1e-15, atol=0)
    assert 0 < np.mean(theirs) < 1


def test_joint_map_by_hand():
    # Scores 3 (wrong), 2 (right), 2 (wrong), 1 (right): right at places 3 and 4.
    item = torch.tensor([[3.0], [2.0], [2.0], [1.0]])
    assert reference.joint_map(torch.ones(1, 1), item, [7], [1, 7, 2, 7]) == [(1 / 3 + 2 / 4) / 2]


def test_two_decodes_are_the_two_views():
    data, fit, box = photo(120, 90), ImageFit(size=32, resize=32), (10.0, 20.0, 80.0, 70.0)
    whole, crop = reference.two_decodes(data, fit, box)
    assert np.array_equal(whole, fit_pixels(read_image(data), fit))
    assert np.array_equal(crop, fit_pixels(read_image(data).crop((10, 20, 80, 70)), fit))


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory):
    return save_small_sam(tmp_path_factory.mktemp("sam") / "sam")


def picture(size):
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


@pytest.mark.parametrize("size", [(128, 76), (76, 128), (128, 128)])  # no low-resolution pixel is part padding
@pytest.mark.parametrize("batch", [5, 64])
def test_full_masks_have_our_boxes_to_within_a_low_resolution_pixel(sam_folder, size, batch):
    sam, image = SamRegions(sam_folder, **ALL, batch=batch), picture(size)
    (ours,), theirs = sam.propose([image]), reference.full_resolution_regions(sam, image)
    assert len(ours) == len(theirs) > 30
    np.testing.assert_allclose([r.score for r in ours], [r.score for r in theirs], atol=1e-6)
    pixel = 2 * max(size) / SIDE
    assert np.abs(np.array([r.box for r in ours]) - np.array([r.box for r in theirs])).max() <= pixel


def test_full_masks_pass_filter_by_filter():
    """Masks of a 20 x 10 image by hand; a limit that lets one more pass lets through that one alone."""
    logits_NHW = torch.full((6, 10, 20), -9.0)
    logits_NHW[:4, 2:6, 3:13] = 9.0  # a fifth of the image
    logits_NHW[1, 0, :] = 0.5  # shaky: 40 of 60 pixels are sure
    logits_NHW[2, 2:6, 4:13] = -9.0  # small: 4 pixels
    logits_NHW[4] = 9.0  # everything; the last is nothing
    iou_N = torch.tensor([0.9, 0.9, 0.9, 0.5, 0.9, 0.9])
    boxes = {0: [3, 2, 13, 6], 1: [0, 0, 20, 6], 2: [3, 2, 4, 6], 3: [3, 2, 13, 6], 4: [0, 0, 20, 10]}
    strict = {"iou_threshold": 0.88, "stability_threshold": 0.95, "min_area": 0.05, "max_area": 0.8}
    for looser, also in [({}, None), ({"stability_threshold": 0.6}, 1), ({"min_area": 0}, 2),
                         ({"iou_threshold": 0.4}, 3), ({"max_area": 1}, 4)]:  # fmt: skip
        limits = {**strict, **looser}
        areas = Limits(min_area=limits.pop("min_area"), max_area=limits.pop("max_area"))
        sam = SimpleNamespace(stability_offset=1.0, mask_limits=areas, **limits)
        boxes_N4, scores_N = reference._full_boxes(sam, logits_NHW, iou_N)
        expected = [0] if also is None else [0, also]
        assert boxes_N4.tolist() == [boxes[index] for index in expected]
        assert torch.equal(scores_N, iou_N[expected])


def test_no_mask_that_passes_is_no_region(sam_folder):
    sam = SamRegions(sam_folder, iou_threshold=99, points=3)
    assert reference.full_resolution_regions(sam, picture((60, 40))) == []
