"""Zero-shot classification against stock transformers and obvious loops, and what is left out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from fastgoal.data.labelled import LabelledImage, open_labelled
from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation.classification import embed_classes, evaluate_classification
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.results import EvalResult, compare
from fastgoal.models.dual_encoder import DualEncoder

TEMPLATES = ("a photo of a {}.", "there is a {} here.", "{}, seen from behind, in the shade of a tree.")
CLASSES = ("ball", "box", "chair", "lamp", "dog", "stone path")
IMAGES = (3, 1, 0, 5, 2, 1)
"""Images of each class: one class has none."""
SMALL = replace(PROTOCOLS["classification"], ks=(1, 2, 5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(1)
    for name, count in zip(CLASSES, IMAGES, strict=True):
        place = folder / name.replace(" ", "_")
        place.mkdir()
        for index in range(count):
            coarse = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
            size = tuple(int(side) for side in rng.integers(30, 90, 2))
            Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(place / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def labelled(folder):
    return open_labelled(folder)


@pytest.fixture(scope="module")
def stock(labelled, small_clip_folder):
    """CLIP's way with stock transformers, one image and one prompt at a time: images x D and classes x D."""
    clip, processor = CLIPModel.from_pretrained(small_clip_folder), CLIPProcessor.from_pretrained(small_clip_folder)

    def unit(vector):
        return vector / np.sqrt((vector**2).sum())

    rows = []
    with torch.no_grad():
        for item in labelled.items:
            pixels = processor(images=Image.open(labelled.root / item.id), return_tensors="pt")
            rows.append(unit(clip.get_image_features(**pixels).pooler_output[0].double().numpy()))
        classes = []
        for name in labelled.classes:
            prompts = [processor(text=[t.replace("{}", name)], return_tensors="pt") for t in TEMPLATES]
            each = [unit(clip.get_text_features(**p).pooler_output[0].double().numpy()) for p in prompts]
            classes.append(unit(sum(each) / len(each)))
    return np.array(rows), np.array(classes)


def test_classes_are_normalised_means_of_unit_embeddings(encoder, labelled, stock):
    class_CD, cut = embed_classes(encoder, labelled.classes, TEMPLATES, batch=4)
    assert class_CD == pytest.approx(stock[1], abs=1e-5)
    assert np.linalg.norm(class_CD, axis=1) == pytest.approx(np.ones(6), abs=1e-6)
    assert cut == 0


def test_accuracies_equal_transformers_and_a_loop(encoder, labelled, stock):
    similarity = stock[0] @ stock[1].T
    result = evaluate_classification(encoder, labelled, templates=TEMPLATES, protocol=SMALL, batch=5)
    truth = [item.label for item in labelled.items]
    for k in SMALL.ks:
        right = [label in np.argsort(-row)[:k] for row, label in zip(similarity, truth, strict=True)]
        assert result.i2t[f"top-{k}"] == pytest.approx(100 * np.mean(right))
        per_class = [np.mean([r for r, t in zip(right, truth, strict=True) if t == c]) for c in sorted(set(truth))]
        assert result.i2t[f"per-class top-{k}"] == pytest.approx(100 * np.mean(per_class))
    assert 0 < result.i2t["top-2"] < 100
    assert result.i2t["top-2"] != result.i2t["per-class top-2"]
    assert result.queries["i2t"].id_Q.tolist() == [item.id for item in labelled.items]
    assert result.chance == {
        "top-1": pytest.approx(100 / 6),
        "top-2": pytest.approx(200 / 6),
        "top-5": pytest.approx(500 / 6),
    }
    assert result.counts == {
        "images": 12, "classes": 6, "classes_without_images": 1, "templates": 3, "skipped": 0,
    }  # fmt: skip
    assert (result.items, result.t2i, result.skipped) == (12, {}, {})
    for key, (low, high) in result.ci95["i2t"].items():
        assert 0 <= low <= result.i2t[key] <= high <= 100


def test_the_templates_matter_and_the_batch_does_not(encoder, labelled):
    ranks = [
        evaluate_classification(encoder, labelled, templates=t, batch=b).queries["i2t"].rank_Q
        for t, b in ((TEMPLATES, 1), (TEMPLATES, 64), (TEMPLATES[2:], 64))
    ]
    assert np.array_equal(ranks[0], ranks[1])
    assert not np.array_equal(ranks[0], ranks[2])


def test_an_unreadable_image_is_left_out_counted_and_named(encoder, labelled, folder):
    broken = [LabelledImage(id="box/gone.png", label=1), LabelledImage(id="dog/text.png", label=4)]
    (folder.parent / "text.png").write_text("no image")
    broken[1] = replace(broken[1], id="../text.png")
    spoilt = replace(labelled, items=[broken[0], *labelled.items[:5], broken[1], *labelled.items[5:]])
    result, clean = (evaluate_classification(encoder, source, templates=TEMPLATES) for source in (spoilt, labelled))
    assert result.i2t == clean.i2t
    assert result.queries["i2t"].id_Q.tolist() == clean.queries["i2t"].id_Q.tolist()
    assert (result.items, result.counts["skipped"], sum(result.skipped.values())) == (12, 2, 2)
    assert any("gone.png" in one["where"] and "No such file" in one["reason"] for one in result.skipped_samples)
    with pytest.raises(DataError, match="0 of 2 images can be used"):
        evaluate_classification(encoder, replace(labelled, items=broken))


def test_it_is_stored_and_compared_like_any_result(encoder, labelled, tmp_path, small_clip_folder):
    result = evaluate_classification(encoder, labelled, templates=TEMPLATES, protocol=SMALL)
    result.save(tmp_path / "a.json")
    again = EvalResult.load(tmp_path / "a.json")
    assert again == result
    other = DualEncoder.load(small_clip_folder)
    with torch.no_grad():
        other.model.visual_projection.weight.copy_(other.model.visual_projection.weight.flip(0))
    rival = evaluate_classification(other, labelled, templates=TEMPLATES, protocol=SMALL)
    for key in ("top-1", "per-class top-2"):
        found = compare(again, rival, f"i2t {key}")
        assert found["difference"] == pytest.approx(result.i2t[key] - rival.i2t[key])
        assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]


def test_equal_directions_count_against_the_model(encoder, labelled):
    """Two names that the tokenizer reads alike are one direction: the right class never wins alone."""
    names = ("Ball!", "ball !", "chair")
    source = replace(labelled, classes=names, items=[replace(labelled.items[0], label=0)])
    class_CD, _ = embed_classes(encoder, names, ("{}",))
    assert np.array_equal(class_CD[0], class_CD[1])
    assert evaluate_classification(encoder, source, templates=("{}",)).queries["i2t"].rank_Q[0] > 1


@pytest.mark.parametrize("templates", [(), ("a dog",)])
def test_templates_that_are_none(encoder, labelled, templates):
    with pytest.raises(ConfigError):
        evaluate_classification(encoder, labelled, templates=templates)


def test_one_class_is_no_choice_and_a_pinned_number_is_kept(encoder, labelled):
    with pytest.raises(DataError, match="at least two"):
        evaluate_classification(encoder, replace(labelled, classes=("ball",)))
    with pytest.raises(DataError, match="50,000 items expected"):
        evaluate_classification(encoder, labelled, protocol=replace(SMALL, name="imagenet", items=50_000))
