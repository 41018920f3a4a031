"""A small random SAM: our regions against transformers' own functions, and against a SAM that knows the answer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.regions.small import SIDE, save_small_sam
from transformers import SamModel, YolosConfig
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil, _batched_mask_to_box

from fastgoal.errors import ConfigError, ModelError
from fastgoal.regions import SamRegions

ALL = {"iou_threshold": -99, "stability_threshold": 0, "min_area": 0, "max_area": 1, "max_box": 1, "nms_iou": 1,
       "max_regions": 9999, "points": 6}  # fmt: skip
PIXEL = 2
"""Side of a low-resolution pixel, in pixels of the square."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_small_sam(tmp_path_factory.mktemp("sam") / "sam")


def pictures(*sizes):
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)) for _ in sizes]
    return [image.resize(size) for image, size in zip(coarse, sizes, strict=True)]


@torch.inference_mode()
def by_hand(folder, image):
    """Scores, boxes (exclusive) and low-resolution masks of all points, by transformers' own functions; every mask is
    enlarged to the size of the image."""
    model, processor = SamModel.from_pretrained(folder).eval(), SamImageProcessorPil.from_pretrained(folder)
    inputs = processor(images=image, return_tensors="pt")
    _, points, *_ = processor.generate_crop_boxes(image, SIDE, points_per_crop=ALL["points"])
    out = model(pixel_values=inputs["pixel_values"], input_points=points.float())
    sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
    full = processor.post_process_masks(out.pred_masks, *sizes)[0].flatten(0, 1)
    boxes = _batched_mask_to_box(full) + torch.tensor([0, 0, 1, 1])
    return out.iou_scores.flatten().numpy(), boxes.numpy(), full.numpy(), out.pred_masks[0].flatten(0, 1)


@pytest.mark.parametrize("size", [(128, 76), (76, 128), (128, 128)])  # no low-resolution pixel is part padding
def test_regions_are_those_of_transformers_own_functions(folder, size):
    (image,) = pictures(size)
    iou_N, boxes_N4, full_NHW, _ = by_hand(folder, image)
    some_N = np.flatnonzero(full_NHW.any((1, 2)))
    order = some_N[np.argsort(-iou_N[some_N], kind="stable")]
    (ours,) = SamRegions(folder, **ALL).propose([image])
    assert len({region.box for region in ours}) > 5
    np.testing.assert_allclose([r.score for r in ours], np.minimum(iou_N[order], 1), atol=1e-4)
    pixel = PIXEL * 128 / SIDE
    assert np.abs(np.array([r.box for r in ours]) - boxes_N4[order]).max() <= pixel
    assert {r.source for r in ours} == {"sam"}


def test_every_stage_is_counted_and_does_what_it_says(folder):
    (image,) = pictures((128, 128))
    iou_N, *_, coarse_NHW = by_hand(folder, image)
    level = float(np.quantile(iou_N, 0.2))
    settings = ALL | {"iou_threshold": level, "stability_threshold": 0.8, "stability_offset": 0.05, "max_area": 0.9}
    sam = SamRegions(folder, **settings)
    assert sam.stages == {}
    (ours,) = sam.propose([image])
    sure = iou_N >= level
    steady_N = ((coarse_NHW > 0.05).sum((1, 2)) / (coarse_NHW > -0.05).sum((1, 2)).clamp(min=1)).numpy() >= 0.8
    share_N = (coarse_NHW > 0).float().mean((1, 2)).numpy()
    sized_N = (share_N > 0) & (share_N <= 0.9)
    expected = [len(iou_N), sure.sum(), (sure & steady_N).sum(), (sure & steady_N & sized_N).sum(), len(ours)]
    assert list(sam.stages) == ["masks", "predicted IoU", "stability", "mask area", "regions"]
    assert list(sam.stages.values()) == expected
    assert len(iou_N) > expected[1] > expected[2] > expected[3] > 0
    sam.propose([image, image])
    assert list(sam.stages.values()) == [3 * count for count in expected]


def test_points_in_batches_equal_all_at_once_and_the_image_is_embedded_once(folder):
    images, seen = pictures((90, 50), (50, 90), (300, 4)), []
    whole = SamRegions(folder, **ALL, batch=999).propose(images)
    for batch in (1, 7, 36):
        sam = SamRegions(folder, **ALL, batch=batch)
        sam.model.vision_encoder.register_forward_hook(lambda *_: seen.append(1))
        for ours, theirs in zip(sam.propose(images), whole, strict=True):
            np.testing.assert_allclose([r.score for r in ours], [r.score for r in theirs], atol=1e-5)
            assert sorted(r.box for r in ours) == sorted(r.box for r in theirs)
    assert len(seen) == 3 * len(images)
    assert SamRegions(folder, **ALL).propose([]) == []


def test_an_image_on_which_nothing_passes_has_no_region(folder):
    sam = SamRegions(folder, points=4, iou_threshold=99)
    assert sam.propose(pictures((60, 40), (40, 60))) == [[], []]
    assert sam.stages == {"masks": 96, "predicted IoU": 0, "stability": 0, "mask area": 0, "regions": 0}


class KnowingSam:
    """Segments by colour what lies under each point, in the very pixels that SAM would see, as a perfect SAM would."""

    def get_image_embeddings(self, pixels_1CHW):
        return pixels_1CHW

    def __call__(self, image_embeddings, input_points, multimask_output):
        assert multimask_output
        pixels_CHW, points_P2 = image_embeddings[0], input_points[0, :, 0].long()
        own_P = pixels_CHW[:, points_P2[:, 1], points_P2[:, 0]].T
        same_PHW = ((pixels_CHW[None] - own_P[:, :, None, None]).abs().amax(1) < 0.1).float()
        coarse_PHW = torch.nn.functional.avg_pool2d(same_PHW, PIXEL) * 40 - 15  # half a pixel is enough, surely
        masks = torch.stack([coarse_PHW, coarse_PHW - 99, coarse_PHW - 99], dim=1)
        return SimpleNamespace(
            pred_masks=masks[None], iou_scores=torch.tensor([0.9, 0.95, 0.2]).repeat(1, len(own_P), 1)
        )


@pytest.mark.parametrize("size", [(400, 200), (200, 400), (300, 300), (64, 41)])
def test_boxes_of_oblong_images_come_back_where_the_things_are(folder, size):
    width, height = size
    image, (w, h) = Image.new("RGB", size, (10, 10, 10)), (width // 8, height // 8)
    things = {(w, h, 3 * w, 4 * h): (250, 0, 0), (4 * w, 4 * h, 8 * w, 8 * h): (0, 250, 0)}
    for box, colour in things.items():
        image.paste(colour, box)
    sam = SamRegions(folder, points=8)
    sam.model = KnowingSam()
    (found,) = sam.propose([image])
    # The ground is a mask too, but its box is the whole image; empty masks have a high predicted IoU here.
    assert len(found) == 2
    one = PIXEL * max(size) / SIDE
    for region, box in zip(sorted(found, key=lambda r: r.box), things, strict=True):
        assert np.abs(np.array(region.box) - box).max() <= one + 1
        assert region.score == pytest.approx(0.9)
    sam = SamRegions(folder, points=8, max_box=1)
    sam.model = KnowingSam()
    assert (0, 0, width, height) in {region.box for region in sam.propose([image])[0]}


def test_transformers_pipeline_finds_the_same(folder):
    pytest.importorskip("torchvision")
    from transformers import pipeline

    (image,) = pictures((128, 128))
    finder = pipeline("mask-generation", model=str(folder))
    theirs = finder(image, points_per_crop=6, pred_iou_thresh=0.0, stability_score_thresh=0.0, crops_nms_thresh=1.0,
                    output_bboxes_mask=True)  # fmt: skip
    (ours,) = SamRegions(folder, **ALL).propose([image])
    boxes, scores = theirs["bounding_boxes"].numpy(), theirs["scores"].numpy()
    whole = boxes.any(axis=1)  # it keeps empty masks
    np.testing.assert_allclose([region.score for region in ours], scores[whole], atol=1e-4)
    one = PIXEL * 128 / SIDE + 1  # its boxes end with the last pixel, ours behind it
    assert np.abs(np.array([region.box for region in ours]) - boxes[whole]).max() <= one


@pytest.mark.parametrize(("setting", "value"), [("points", 0), ("batch", 0), ("nms_iou", 2), ("min_area", 0.9)])
def test_settings_out_of_range_are_named(tmp_path, setting, value):
    with pytest.raises(ConfigError) as caught:
        SamRegions(tmp_path, **{setting: value})
    assert setting in caught.value.where


def test_what_is_no_sam_is_named(tmp_path, folder):
    with pytest.raises(ModelError, match="a SAM cannot be loaded"):
        SamRegions(tmp_path)
    YolosConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"'yolos' is not a SAM.*this one goes with --regions flism --detector"):
        SamRegions(tmp_path)
    model = SamModel.from_pretrained(folder)
    kept = {name: value for name, value in model.state_dict().items() if "iou_token" not in name}
    model.save_pretrained(tmp_path, state_dict=kept)
    processor = SamImageProcessorPil.from_pretrained(folder)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"the SAM lacks 1 weights, such as mask_decoder\.iou_token"):
        SamRegions(tmp_path)
    model.save_pretrained(tmp_path)
    SamImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="pads images to 1024 px, but the model takes 64"):
        SamRegions(tmp_path)
