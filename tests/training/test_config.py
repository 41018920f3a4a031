from pathlib import Path

import pytest

from fastgoal.errors import ConfigError
from fastgoal.losses import LossWeights
from fastgoal.training.config import TrainConfig


def test_defaults_are_the_papers() -> None:
    config = TrainConfig()
    assert config.weights == LossWeights(global_=1, local=0.5, tsl=1)
    assert (config.epochs, config.batch_size, config.learning_rate, config.weight_decay) == (10, 16, 5e-6, 0.05)
    assert (config.warmup_steps, config.schedule, config.seed, config.text_tokens) == (0, "cosine", 1337, None)
    assert (config.tsl_target, config.tsl_stop_gradient, config.clip_norm) == ("diagonal", False, None)


def test_a_weight_replaces_only_its_own() -> None:
    assert TrainConfig(method="no-tsl", tsl_weight=0.1).weights == LossWeights(global_=1, local=0.5, tsl=0.1)
    assert TrainConfig(method="local").weights == LossWeights(global_=0, local=1, tsl=0)


def test_yaml_round_trip_with_a_float_that_yaml_reads_as_text(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("method: global\nlearning_rate: 1e-5\nbatch_size: 32\nweight_decay: 0\nlog_to: [tensorboard]\n")
    config = TrainConfig.from_yaml(file)
    assert config == TrainConfig(
        method="global", learning_rate=1e-5, batch_size=32, weight_decay=0.0, log_to=("tensorboard",)
    )
    assert TrainConfig.from_mapping(config.to_mapping()) == config


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"batchsize": 8}, ["batchsize", "Did you mean 'batch_size'?"]),
        ({"zzz": 8}, ["zzz", "Known settings: method"]),
        ({"batch_size": "many"}, ["batch_size", "'many' is str, not a whole number"]),
        ({"epochs": 2.5}, ["epochs", "2.5 is float, not a whole number"]),
        ({"epochs": True}, ["epochs", "bool"]),
        ({"tsl_stop_gradient": 1}, ["tsl_stop_gradient", "true or false"]),
        ({"method": "gaol"}, ["method", "Did you mean 'goal'?", "no-tsl"]),
        ({"log_to": "tensorboard"}, ["log_to", "[name, ...]"]),
        ({"batch_size": 1}, ["batch_size", "at least 2"]),
        ({"micro_batch": 0}, ["micro_batch", "at least 1"]),
        ({"learning_rate": 0}, ["learning_rate", "greater than 0"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "out of range"]),
        ({"epochs": None}, ["epochs", "NoneType"]),
        ({"method": "global", "global_weight": 0}, ["loss weights"]),
    ],
)
def test_bad_settings_name_the_field_and_the_mend(values: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_mapping(values, where="train.yaml")
    for part in [*parts, "train.yaml"]:
        assert part in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        TrainConfig.from_yaml(tmp_path / "absent.yaml")
    for text in ("- a\n- b\n", "a: [1\n"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml"):
            TrainConfig.from_yaml(tmp_path / "bad.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert TrainConfig.from_yaml(tmp_path / "empty.yaml") == TrainConfig()


def test_how_a_run_is_watched_and_fits_into_memory_is_no_part_of_its_trajectory() -> None:
    assert TrainConfig(log_every=1, view_cache_mb=0).trajectory() == TrainConfig().trajectory()
    assert TrainConfig(micro_batch=4, checkpoint_activations=True).trajectory() == TrainConfig().trajectory()
    assert TrainConfig(seed=1).trajectory() != TrainConfig().trajectory()
    assert TrainConfig(exact_decode=True).trajectory() != TrainConfig().trajectory()
