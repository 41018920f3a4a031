"""Tiny random detectors of the real architectures: our boxes against transformers' own post-processing."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.regions.small import save_small_owl, save_small_sam
from transformers import (
    CLIPConfig,
    CLIPModel,
    DetrConfig,
    DetrForObjectDetection,
    DFineConfig,
    DFineForObjectDetection,
    ResNetConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.hgnet_v2.configuration_hgnet_v2 import HGNetV2Config
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from fastgoal.errors import ConfigError, ModelError
from fastgoal.geometry import iou_matrix
from fastgoal.regions import DetectorRegions

SMALL = {"shortest_edge": 64, "longest_edge": 128}
RT_DETR = {
    "encoder_hidden_dim": 16, "encoder_in_channels": [16, 16, 16], "encoder_ffn_dim": 16, "encoder_attention_heads": 2,
    "d_model": 16, "num_queries": 12, "decoder_in_channels": [16, 16, 16], "decoder_ffn_dim": 16, "decoder_layers": 2,
    "decoder_attention_heads": 2, "num_denoising": 0, "num_labels": 5,
}  # fmt: skip


def tiny_yolos():
    config = YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 96],
        patch_size=16, num_detection_tokens=12, num_labels=5,
    )  # fmt: skip
    return YolosForObjectDetection(config), YolosImageProcessorPil(size=SMALL)


def tiny_detr():
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], out_features=["stage4"])
    config = DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=16,
        encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, num_queries=12, num_labels=5,
    )  # fmt: skip
    return DetrForObjectDetection(config), DetrImageProcessorPil(size=SMALL)


def tiny_rt_detr(config_class=RTDetrConfig, model_class=RTDetrForObjectDetection):
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_indices=[2, 3, 4]
    )
    config = config_class(backbone_config=backbone, **RT_DETR)
    return model_class(config), RTDetrImageProcessorPil(size={"height": 64, "width": 64})


def tiny_rt_detr_v2():
    return tiny_rt_detr(RTDetrV2Config, RTDetrV2ForObjectDetection)


def tiny_d_fine():
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 16, 16], stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 16, 16, 16], stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        embedding_size=8, hidden_sizes=[16, 16, 16, 16], depths=[1, 1, 1, 1], out_indices=[2, 3, 4],
    )  # fmt: skip
    return DFineForObjectDetection(DFineConfig(backbone_config=backbone, **RT_DETR)), RTDetrImageProcessorPil(
        size={"height": 64, "width": 64}
    )


FAMILIES = {
    "yolos": tiny_yolos, "detr": tiny_detr, "rt-detr": tiny_rt_detr, "rt-detr-v2": tiny_rt_detr_v2,
    "d-fine": tiny_d_fine,
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / request.param
    torch.manual_seed(0)
    model, processor = FAMILIES[request.param]()
    with torch.no_grad():  # untrained heads give every query the same box; spread them
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.eval().save_pretrained(path)
    processor.save_pretrained(path)
    return path


def pictures():
    rng = np.random.default_rng(0)
    sizes = [(160, 120), (90, 200), (160, 120), (300, 100), (160, 120)]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.fixture(scope="module")
def detector(folder):
    """All that the model says: no limits, no suppression."""
    return DetectorRegions(folder, score_threshold=0.1, nms_iou=1, min_area=0, max_area=1, max_regions=999)


@torch.inference_mode()
def by_hand(folder, image, threshold):
    """Loaded, called and read out without any of our code."""
    model_class, processor_class = (type(part) for part in FAMILIES[folder.name]())
    model, processor = model_class.from_pretrained(folder).eval(), processor_class.from_pretrained(folder)
    outputs = model(pixel_values=processor(images=image, return_tensors="pt")["pixel_values"])
    sizes = [(image.height, image.width)]
    return processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=sizes)[0]


def test_boxes_equal_transformers_own(folder, detector):
    for image in pictures()[:2]:
        theirs = by_hand(folder, image, threshold=0.1)
        expected = set()
        for box, score, label in zip(*(theirs[key].tolist() for key in ("boxes", "scores", "labels")), strict=True):
            x1, y1 = (max(0.0, float(np.floor(v + 1e-4))) for v in box[:2])
            x2, y2 = (float(min(side, np.ceil(v - 1e-4))) for v, side in zip(box[2:], image.size, strict=True))
            if x1 < x2 and y1 < y2:
                expected.add(((x1, y1, x2, y2), round(score, 4), f"LABEL_{label}"))
        (ours,) = detector.propose([image])
        assert expected
        # Boxes that are identical in whole pixels are kept: their IoU is not above 1.
        assert {(r.box, round(r.score, 4), r.label) for r in ours} == expected
        assert [r.score for r in ours] == sorted((r.score for r in ours), reverse=True)
        assert {r.source for r in ours} == {"detector"}


def test_a_batch_equals_one_at_a_time(detector, monkeypatch):
    images = pictures()
    apart = [detector.propose([image])[0] for image in images]
    for size in (2, 8):
        monkeypatch.setattr(detector, "batch", size)
        together = detector.propose(images)
        assert [len(regions) for regions in together] == [len(regions) for regions in apart]
        for ours, theirs in zip(together, apart, strict=True):
            assert {r.box for r in ours} == {r.box for r in theirs}
            np.testing.assert_allclose([r.score for r in ours], [r.score for r in theirs], atol=1e-5)
    assert detector.propose([]) == []


def test_limits_hold(folder, detector):
    images = pictures()
    free = detector.propose(images)
    limits = {"min_area": 0.02, "max_area": 0.6, "nms_iou": 0.5, "max_regions": 3}
    kept = DetectorRegions(folder, score_threshold=0.1, **limits).propose(images)
    assert sum(map(len, kept)) < sum(map(len, free))
    for image, regions in zip(images, kept, strict=True):
        boxes = np.array([r.box for r in regions]).reshape(-1, 4)
        shares = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (image.width * image.height)
        assert len(regions) <= 3
        assert ((shares >= 0.02) & (shares <= 0.6)).all()
        assert (np.triu(iou_matrix(boxes, boxes), 1) <= 0.5).all()


def test_what_is_no_detector_is_named(tmp_path):
    with pytest.raises(ModelError, match="an object detector cannot be loaded") as caught:
        DetectorRegions(tmp_path)
    assert caught.value.where == str(tmp_path)
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    CLIPModel(CLIPConfig(text_config=vision | {"vocab_size": 9}, vision_config=vision)).save_pretrained(tmp_path)
    YolosImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="'clip' is not an object detector"):
        DetectorRegions(tmp_path)


@pytest.mark.parametrize(("save", "said"), [
    (save_small_sam, "'sam' is not an object detector.*a SAM goes with --regions lism --sam"),
    (save_small_owl, "'owlv2' is not an object detector.*this one goes with --regions open-vocabulary --detector"),
])  # fmt: skip
def test_a_model_of_another_kind_is_named_with_where_it_belongs(tmp_path, save, said):
    with pytest.raises(ModelError, match=said):
        DetectorRegions(save(tmp_path / "model"))


def test_a_detector_that_finds_nothing_gives_no_region(folder):
    assert DetectorRegions(folder, score_threshold=1).propose(pictures()[:2]) == [[], []]


def test_missing_weights_are_named(tmp_path):
    model, processor = tiny_yolos()
    state = {key: value for key, value in model.state_dict().items() if "bbox_predictor" not in key}
    model.save_pretrained(tmp_path, state_dict=state)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="lacks 6 weights, such as bbox_predictor"):
        DetectorRegions(tmp_path)


@pytest.mark.parametrize(("setting", "value"), [("batch", 0), ("score_threshold", 1.5), ("nms_iou", -1)])
def test_settings_out_of_range_are_named(tmp_path, setting, value):
    with pytest.raises(ConfigError) as caught:
        DetectorRegions(tmp_path, **{setting: value})
    assert caught.value.where == setting


def test_a_thin_image_spoils_no_others(detector):
    sound, thin = pictures()[0], [Image.new("RGB", size) for size in ((90, 1), (1, 90))]
    first, found, last = detector.propose([thin[0], sound, thin[1]])
    assert [region.box for region in found] == [region.box for region in detector.propose([sound])[0]] != []
    assert all(region.box[2] <= 90 and region.box[3] <= 1 for region in first)
    assert all(region.box[2] <= 1 and region.box[3] <= 90 for region in last)


def test_a_device_that_is_not_there(folder):
    for device in ("cuda:77", "nonsense"):
        with pytest.raises(ModelError, match="this device cannot be used"):
            DetectorRegions(folder, device=device)
