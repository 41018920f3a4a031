"""What accelerate's configuration may ask of a run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fastgoal.errors import ConfigError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, train
from fastgoal.training.launcher import expect_launcher


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "true", "accelerate is configured for DeepSpeed, which is not used here"),
        ("ACCELERATE_USE_MEGATRON_LM", "True", "accelerate is configured for Megatron-LM"),
        ("ACCELERATE_USE_FSDP", "true", "accelerate is configured for FSDP, but the run is not to be sharded"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "accelerate is configured for fp8"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "accelerate is configured for fp16"),
    ],
)
def test_what_the_run_does_not_mean_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name}: {message}"):
        expect_launcher(TrainConfig())


@pytest.mark.parametrize(
    ("name", "value", "shard"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "false", False),
        ("ACCELERATE_USE_FSDP", "true", True),
        ("ACCELERATE_MIXED_PRECISION", "bf16", False),
        ("ACCELERATE_USE_FSDP", "", False),
    ],
)
def test_what_changes_nothing_is_let_be(monkeypatch: pytest.MonkeyPatch, name: str, value: str, shard: bool) -> None:
    monkeypatch.setenv(name, value)
    expect_launcher(TrainConfig(shard=shard))


def test_training_asks_before_it_writes(
    monkeypatch: pytest.MonkeyPatch, write_table: Callable[..., PairsTable], encoder: DualEncoder, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="accelerate is configured for DeepSpeed"):
        train(write_table(), encoder, tmp_path / "run")
    assert not (tmp_path / "run").exists()
