"""Presets meet the papers' own settings at the papers' sizes, and say what is wrong with others."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.families import clip
from fastgoal.training.presets import batch_for, doubts, preset, sample_bytes

GIB = 2**30


def sized(width: int, layers: int, grid: int, parameters: int) -> SimpleNamespace:
    """What presets ask of an encoder, at the size of a real one: building a ViT-B/16 would cost seconds."""
    tower = SimpleNamespace(hidden_size=width, num_hidden_layers=layers)
    model = SimpleNamespace(config=SimpleNamespace(vision_config=tower, text_config=tower))
    weights = [torch.empty(parameters, device="meta")]
    return SimpleNamespace(model=model, grid=grid, text_limit=248, traits=clip.TRAITS, parameters=lambda: iter(weights))


VIT_B = sized(768, 12, 14, 150_000_000)


def test_the_papers_sizes_give_the_papers_settings():
    goal = preset(9_647, VIT_B, None)
    assert (goal.epochs, goal.batch_size, goal.learning_rate) == (10, 16, 5e-6)
    fast = preset(100_647, VIT_B, 4 * 48 * GIB)
    assert (fast.epochs, fast.batch_size) == (10, 256)
    assert fast.learning_rate == pytest.approx(4 * 5e-6)


def test_more_data_means_fewer_epochs_and_never_none():
    epochs = [preset(n, VIT_B).epochs for n in (100, 10_000, 50_000, 100_000, 10_000_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert (epochs[0], epochs[-1]) == (10, 1)


def test_the_bundled_model_learns_at_its_own_rate():
    assert preset(1_200, DualEncoder.load("tiny")).learning_rate == 1e-4


@pytest.mark.parametrize(
    ("samples", "each", "memory", "batch"),
    [(10**6, GIB // 16, None, 16), (10**6, GIB // 16, 8 * GIB, 64), (10**6, 1, 8 * GIB, 256), (600, 1, 8 * GIB, 16)],
)
def test_a_batch_fits_the_memory_and_the_data(samples, each, memory, batch):
    assert batch_for(samples, each, memory) == batch


def test_what_is_given_stays_and_only_the_rest_is_explained():
    chosen = preset(5_000, VIT_B, epochs=3, batch_size=8, learning_rate=1e-5, warmup_steps=0)
    assert (chosen.epochs, chosen.batch_size, chosen.learning_rate, chosen.warmup_steps) == (3, 8, 1e-5, 0)
    assert chosen.reasons == ()
    assert len(preset(5_000, VIT_B).reasons) == 4


def test_a_samples_memory_grows_with_the_text_limit():
    assert sample_bytes(VIT_B) < sample_bytes(SimpleNamespace(**{**vars(VIT_B), "text_limit": 512}))


def test_doubts_name_the_learning_rate_and_a_small_validation_set():
    fine = preset(5_000, VIT_B)
    assert doubts(fine, VIT_B, 500) == []
    assert "forget" in doubts(replace(fine, learning_rate=1e-3), VIT_B, 500)[0]
    assert "hardly moves" in doubts(replace(fine, learning_rate=1e-9), VIT_B, 500)[0]
    assert "2.0 points" in doubts(fine, VIT_B, 50)[0]
    assert doubts(replace(fine, learning_rate=1e-3), DualEncoder.load("tiny"), 500) == []
