"""Blending is a straight line in weight space, exact at both ends, between models that differ in nothing else."""

import json
import shutil

import pytest
import torch
from tests.conftest import save_small_clip
from transformers import CLIPModel

from fastgoal.errors import ConfigError, ModelError
from fastgoal.models.blend import blend
from fastgoal.models.dual_encoder import DualEncoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small_clip_folder):
    """The small base with 77 text positions, and the same vocabulary with other weights and 120 positions."""
    tuned = tmp_path_factory.mktemp("blend") / "tuned"
    encoder = DualEncoder.load(small_clip_folder, text_tokens=120)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    encoder.save(tuned)
    return small_clip_folder, tuned


@pytest.fixture(scope="module")
def models(folders):
    return [DualEncoder.load(folder) for folder in folders]


def weights(folder, **options):
    return DualEncoder.load(folder, **options).state_dict()


def test_the_ends_are_the_two_models_exactly(models, folders):
    base, tuned = models
    assert blend(base, tuned, 0).fingerprint == DualEncoder.load(folders[0], text_tokens=120).fingerprint
    assert blend(base, tuned, 1).fingerprint == tuned.fingerprint
    assert base.text_limit == 77, "the base itself is left alone"


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
def test_between_them_every_weight_is_on_the_line(models, folders, tmp_path, alpha):
    blend(*models, alpha).save(tmp_path / "mixed")
    first, second = weights(folders[0], text_tokens=120), weights(folders[1])
    stock = CLIPModel.from_pretrained(tmp_path / "mixed").state_dict()
    assert len(stock) == len(first)
    for key, ours, theirs in zip(stock, first.values(), second.values(), strict=True):
        wanted = ours.double() + alpha * (theirs.double() - ours.double())
        torch.testing.assert_close(stock[key].double(), wanted, atol=1e-6, rtol=1e-6)


def test_blending_is_linear(models):
    """The middle of two blends is the blend at the middle of their alphas."""
    low, middle, high = (blend(*models, alpha).state_dict() for alpha in (0.2, 0.4, 0.6))
    for key in middle:
        torch.testing.assert_close((low[key] + high[key]) / 2, middle[key], atol=1e-6, rtol=1e-5)


def test_a_longer_base_is_cut_to_the_tuned_models_limit(models):
    base, tuned = models
    longer = DualEncoder.load(base.name, text_tokens=248)
    assert blend(longer, tuned, 0.5).text_limit == 120


def edited(folder, new, name, change):
    shutil.copytree(folder, new)
    content = json.loads((new / name).read_text())
    change(content)
    (new / name).write_text(json.dumps(content))
    return new


def swap_two_tokens(content):
    vocabulary = content["model"]["vocab"]
    first, second = list(vocabulary)[5:7]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("config.json", lambda c: c["vision_config"].update(num_attention_heads=4), "num_attention_heads is 4 and 2"),
        (
            "config.json",
            lambda c: c["text_config"].update(hidden_act="gelu"),
            "text_config.hidden_act is gelu and quick",
        ),
        ("tokenizer.json", swap_two_tokens, "their tokenizers are not the same"),
        ("processor_config.json", lambda c: c["image_processor"].update(image_mean=[0, 0, 0]), "images are fitted by"),
    ],
)
def test_models_that_differ_in_more_than_weights_are_refused_by_name(folders, models, tmp_path, name, change, says):
    base = DualEncoder.load(edited(folders[0], tmp_path / "base", name, change))
    with pytest.raises(ModelError, match=says) as error:
        blend(base, models[1], 0.5)
    assert str(tmp_path / "base") in str(error.value)


def test_models_of_other_shapes_are_refused_with_the_first_weight(models, tmp_path):
    base = DualEncoder.load(save_small_clip(tmp_path / "base", size=48, patch=16))
    with pytest.raises(ModelError, match=r"weights have other shapes, the first .*embedding.weight: .* x .* and "):
        blend(base, models[1], 0.5)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_is_a_share(models, alpha):
    with pytest.raises(ConfigError, match=r"alpha .* is out of range"):
        blend(*models, alpha)
