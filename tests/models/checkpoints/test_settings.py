"""What a state dict does not say: flags before config before defaults, and configs that contradict the weights."""

import json
from dataclasses import replace

import pytest

from fastgoal.errors import ConfigError, ModelError
from fastgoal.models.checkpoints import Wishes
from fastgoal.models.checkpoints.layouts import GOAL, OPEN_CLIP, OPENAI
from fastgoal.models.checkpoints.settings import MEAN, settle
from fastgoal.models.checkpoints.table import Sizes, Tower

HUGE = Sizes(
    image=Tower(layers=32, width=1280, inner=5120),
    text=Tower(layers=24, width=1024, inner=4096),
    patch=14,
    grid=16,
    positions=77,
    vocabulary=49408,
    dim=1024,
)
CONFIG = {
    "embed_dim": 1024,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 40, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 8, "layers": 24},
}


def written(tmp_path, config):
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("width", "heads"),
    [(512, 8), (768, 12), (1024, 16), (1280, 16), (1408, 16), (1664, 16), (1792, 16)],
)
def test_heads_by_width_are_those_of_the_published_vits(width, heads):
    sizes = replace(HUGE, image=replace(HUGE.image, width=width))
    settings = settle(Wishes(), sizes, OPEN_CLIP)
    assert (settings.image_heads, settings.text_heads) == (heads, 16)
    assert "assumed" in settings.from_where["heads"]


@pytest.mark.parametrize(("layout", "activation"), [(OPENAI, "quick_gelu"), (GOAL, "quick_gelu"), (OPEN_CLIP, "gelu")])
def test_the_activation_is_the_layouts_unless_it_is_given(layout, activation):
    assert settle(Wishes(), HUGE, layout).activation == activation
    assert settle(Wishes(activation="gelu"), HUGE, layout).activation == "gelu"


def test_a_config_wins_over_defaults_and_flags_over_a_config(tmp_path):
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [1, 1, 1], "interpolation": "bilinear", "resize_mode": "squash"}
    path = written(tmp_path, {"model_cfg": CONFIG, "preprocess_cfg": preprocess})
    settings = settle(Wishes(model_config=path), HUGE, OPEN_CLIP)
    assert (settings.activation, settings.image_heads, settings.text_heads) == ("quick_gelu", 32, 8)
    assert (settings.mean, settings.resample, settings.squash) == ((0.5, 0.4, 0.3), 2, True)
    flags = Wishes(model_config=path, activation="gelu", heads=(16,), mean=MEAN)
    settings = settle(flags, HUGE, OPEN_CLIP)
    assert (settings.activation, settings.image_heads, settings.text_heads) == ("gelu", 16, 8)
    assert settings.mean == MEAN


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{", "not an open_clip model config"),
        ({"embed_dim": 3}, "not an open_clip model config"),
        (CONFIG | {"embed_dim": 512}, "embed_dim is 512, but the weights say 1024"),
        (CONFIG | {"text_cfg": {"pool_type": "last"}}, 'text_cfg.pool_type is "last": not a plain CLIP'),
        (CONFIG | {"text_cfg": {"hf_model_name": "roberta-base"}}, "not a plain CLIP"),
        (CONFIG | {"vision_cfg": {"head_width": 0}}, "head_width is 0, not a count"),
        ({"model_cfg": CONFIG, "preprocess_cfg": {"mean": [1]}}, "preprocess_cfg cannot be followed"),
        ({"model_cfg": CONFIG, "preprocess_cfg": {"resize_mode": "longest"}}, "preprocess_cfg cannot be followed"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, config, says):
    with pytest.raises(ModelError, match=says):
        settle(Wishes(model_config=written(tmp_path, config)), HUGE, OPEN_CLIP)


@pytest.mark.parametrize("wishes", [Wishes(heads=(7,)), Wishes(heads=(16, 0)), Wishes(std=(1.0, 0.0, 1.0))])
def test_settings_that_cannot_be_are_refused(wishes):
    with pytest.raises(ConfigError):
        settle(wishes, HUGE, OPENAI)
