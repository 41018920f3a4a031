"""Activation checkpointing: the same gradient, with every layer run twice and less kept in between."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import save_small_clip
from tests.families import save_metaclip_2, save_siglip
from tests.training.gradients import assert_gradients, gradients, kept_for_backward

from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.training import TrainConfig, train
from fastgoal.training.adapt import adapted
from fastgoal.training.batches import Batch, Collator, Views
from fastgoal.training.cached import CachedStep
from fastgoal.training.objective import Objective
from fastgoal.training.recompute import recomputing

WriteTable = Callable[..., PairsTable]
SAVE = {"clip": save_small_clip, "metaclip_2": save_metaclip_2, "siglip": save_siglip}
NO_TSL = Objective(weights=METHODS["no-tsl"])


def batch_of(table: PairsTable, encoder: DualEncoder, method: str = "no-tsl") -> Batch:
    views = Views(table.images, encoder.fit, 2**20)
    return Collator.of(encoder, views, METHODS[method])([table[i] for i in (0, 3, 1, 7)])


def count_runs(encoder: DualEncoder) -> Counter[str]:
    """How often the inner part of each layer is begun from now on; a second run ends early, once it has all."""
    runs: Counter[str] = Counter()
    for name, module in encoder.named_modules():
        if name.endswith(".mlp") and ".layers." in name:
            module.register_forward_pre_hook(lambda *_, name=name: runs.update([name]))
    return runs


@pytest.mark.parametrize("kind", SAVE)
def test_every_layer_of_every_family_runs_again_for_the_same_gradient(
    write_table: WriteTable, tmp_path: Path, kind: str
) -> None:
    encoder = DualEncoder.load(SAVE[kind](tmp_path / "model")).train()
    batch, runs = batch_of(write_table(), encoder), count_runs(encoder)
    wanted = gradients(encoder, lambda: NO_TSL(encoder, batch)["loss"].backward())
    once = dict(runs)
    assert len(once) == 4  # two layers of each tower
    with recomputing(encoder, True):
        runs.clear()
        found = gradients(encoder, lambda: NO_TSL(encoder, batch)["loss"].backward())
        assert dict(runs) == {name: 2 * count for name, count in once.items()}
        runs.clear()
        with torch.no_grad():
            NO_TSL(encoder, batch)
        assert dict(runs) == once
    assert_gradients(found, wanted, within=1e-6)
    runs.clear()
    NO_TSL(encoder, batch)["loss"].backward()
    assert dict(runs) == once


@pytest.mark.parametrize("towers", [("full", "full"), ("lora", "lora"), ("frozen", "full"), ("lora", "frozen")])
def test_adapters_and_single_towers_learn_the_same(
    write_table: WriteTable, encoder: DualEncoder, towers: tuple[Any, Any]
) -> None:
    objective, batch = Objective(weights=METHODS["goal"]), batch_of(write_table(), encoder, "goal")
    with adapted(encoder, TrainConfig(image_tower=towers[0], text_tower=towers[1])):
        encoder.train()
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_()
        wanted = gradients(encoder, lambda: objective(encoder, batch)["loss"].backward())
        with recomputing(encoder, True):
            found = gradients(encoder, lambda: objective(encoder, batch)["loss"].backward())
            step = CachedStep(objective, encoder, batch, 2)
            assert_gradients(gradients(encoder, lambda: step.backward(step.terms()["loss"])), wanted, within=1e-5)
    assert_gradients(found, wanted, within=1e-6)


def test_less_is_kept(write_table: WriteTable, encoder: DualEncoder) -> None:
    """What the layers keep while they run again is theirs alone, so only what stands before that is counted here."""
    batch, kept = batch_of(write_table(), encoder.train()), {}
    for enabled in (False, True):
        with recomputing(encoder, enabled), kept_for_backward(encoder) as held:
            NO_TSL(encoder, batch)
        kept[enabled] = held.peak
    assert kept[True] < kept[False] / 3


def test_a_run_ends_with_the_same_weights(write_table: WriteTable, small_clip_folder: Path, tmp_path: Path) -> None:
    table, ends, seen = write_table(), [], []
    for enabled in (False, True):
        encoder = DualEncoder.load(small_clip_folder)
        runs = count_runs(encoder)
        config = TrainConfig(batch_size=5, max_steps=2, text_tokens=77, checkpoint_activations=enabled)
        train(table, encoder, tmp_path / str(enabled), config, progress=False)
        ends.append(encoder.state_dict())
        seen.append(runs)
    assert seen[1] == Counter({name: 2 * count for name, count in seen[0].items()})
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-5, atol=1e-5)
