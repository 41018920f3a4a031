"""Small random OWLv2 and OWL-ViT: our regions against transformers' own processor, and against a detector that knows
the answer."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.regions.small import OWLS, save_small_owl
from transformers import CLIPTokenizer

from fastgoal.data.samples import Sample
from fastgoal.errors import ConfigError, ModelError
from fastgoal.regions import OpenVocabularyRegions, SampleProposer

ALL = {"score_threshold": 0, "nms_iou": 1, "min_area": 0, "max_area": 1, "max_regions": 9999}
CAPTIONS = (
    "A red ball lies near a tall tree.",
    " ... ",
    "A small blue box stands next to a green lamp and a red ball, under a white window.",
    "An old brown dog.",
)
SIZES = ((90, 50), (40, 40), (50, 90), (64, 64))


@pytest.fixture(scope="module", params=OWLS)
def folder(request, tmp_path_factory):
    return save_small_owl(tmp_path_factory.mktemp("owl") / request.param, request.param)


def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size) for size in SIZES]


def samples(captions=CAPTIONS):
    return [Sample(id=str(i), image=f"{i}.png", caption=caption) for i, caption in enumerate(captions)]


@torch.inference_mode()
def by_hand(folder, image, phrases):
    """Boxes, scores and phrases, one image alone, without any of our code."""
    _, model_class, processor_class = OWLS[folder.name]
    model, processor = model_class.from_pretrained(folder).eval(), processor_class.from_pretrained(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    words = tokenizer(phrases, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    outputs = model(pixel_values=processor(images=image, return_tensors="pt")["pixel_values"], **words)
    found = processor.post_process_object_detection(outputs, threshold=0, target_sizes=[(image.height, image.width)])[0]
    return found["boxes"].numpy(), found["scores"].numpy(), [phrases[label] for label in found["labels"]]


def test_regions_are_those_of_transformers_own_processor_for_each_image_alone(folder):
    owl, asked = OpenVocabularyRegions(folder, **ALL, batch=4), {0: ["red ball", "tall tree"], 3: ["old brown dog"]}
    asked[2] = ["small blue box", "green lamp", "red ball", "white window"]
    found = owl.propose_for(samples(), pictures())
    assert found[1] == []  # nothing to look for
    for index, phrases in asked.items():
        image = pictures()[index]
        boxes_N4, scores_N, labels = by_hand(folder, image, phrases)
        expected = {}
        for box, score, label in zip(boxes_N4, scores_N, labels, strict=True):
            x1, y1 = (max(0.0, float(np.floor(v + 1e-4))) for v in box[:2])
            x2, y2 = (float(min(side, np.ceil(v - 1e-4))) for v, side in zip(box[2:], image.size, strict=True))
            if x1 < x2 and y1 < y2:
                expected.setdefault((round(float(score), 3), label), []).append((x1, y1, x2, y2))
        ours = {}
        for region in found[index]:
            ours.setdefault((round(region.score, 3), region.label), []).append(region.box)
        assert expected
        assert {key: sorted(boxes) for key, boxes in ours.items()} == {k: sorted(b) for k, b in expected.items()}


def test_a_batch_equals_one_at_a_time(folder):
    """Captions with fewer phrases than their batch mates are padded; what pads them must never win a box."""
    alone = OpenVocabularyRegions(folder, **ALL, batch=1).propose_for(samples(), pictures())
    together = OpenVocabularyRegions(folder, **ALL, batch=3).propose_for(samples(), pictures())
    for ours, theirs in zip(together, alone, strict=True):
        assert sorted((r.box, r.label) for r in ours) == sorted((r.box, r.label) for r in theirs)
        np.testing.assert_allclose([r.score for r in ours], [r.score for r in theirs], atol=1e-5)


class KnowingOwl:
    """Finds the red thing in the very pixels it is shown, and says it is the last phrase."""

    def __init__(self, owl):
        self.config = owl.config

    def __call__(self, pixel_values, input_ids, attention_mask):
        boxes = []
        for pixels_CHW in pixel_values:
            red_HW = pixels_CHW[0] - pixels_CHW[1] > 1
            rows, columns = torch.where(red_HW.any(1))[0], torch.where(red_HW.any(0))[0]
            x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            boxes.append(torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]) / pixels_CHW.shape[-1])
        phrases = len(input_ids) // len(boxes)
        logits = torch.arange(phrases, dtype=torch.float32).expand(len(boxes), 1, phrases)
        return SimpleNamespace(pred_boxes=torch.stack(boxes)[:, None], logits=logits)


@pytest.mark.parametrize("size", [(400, 200), (200, 400), (96, 96), (48, 300)])
def test_boxes_of_oblong_images_come_back_where_the_things_are(folder, size):
    owl = OpenVocabularyRegions(folder, min_area=0)
    owl.model = KnowingOwl(owl.model)
    image, (w, h) = Image.new("RGB", size, (20, 20, 20)), (size[0] // 8, size[1] // 8)
    box = (3 * w, 4 * h, 7 * w, 7 * h)
    image.paste((250, 20, 20), box)
    ((region,),) = owl.propose_for(samples(["A green lamp and a red ball."]), [image])
    assert (region.label, region.source) == ("red ball", "detector")
    assert np.abs(np.array(region.box) - box).max() <= max(size) / 48 * 1.5 + 1  # blurred by the resize


def test_it_needs_the_words_of_samples(folder):
    owl = OpenVocabularyRegions(folder)
    assert isinstance(owl, SampleProposer)
    assert owl.propose([]) == []
    with pytest.raises(ConfigError, match="caption's words"):
        owl.propose(pictures())
    first, second = samples(["A ball.", "A box."])
    assert owl.reads(first) != owl.reads(second)
    assert owl.propose_for([], []) == []


@pytest.mark.parametrize(("setting", "value"), [("max_phrases", 0), ("batch", 0), ("score_threshold", 2)])
def test_settings_out_of_range_are_named(tmp_path, setting, value):
    with pytest.raises(ConfigError) as caught:
        OpenVocabularyRegions(tmp_path, **{setting: value})
    assert caught.value.where == setting


def test_what_is_no_open_vocabulary_detector_is_named(tmp_path, small_clip_folder):
    with pytest.raises(ModelError, match=r"'clip' is not an open-vocabulary detector.*OWLv2 or OWL-ViT"):
        OpenVocabularyRegions(small_clip_folder)
    folder = save_small_owl(tmp_path / "owl")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(
        ModelError, match=r"its tokenizer has .* tokens, but the model.*tokenizer files of the same model"
    ):
        OpenVocabularyRegions(folder)
