"""The training step of the benchmarks: both sides compute the same, and the arithmetic is what a counter counts."""

import statistics

import pytest
import torch
from tests.conftest import save_small_clip
from torch.utils.flop_counter import FlopCounterMode

from fastgoal.bench import arithmetic
from fastgoal.bench.reference import ReferenceStep
from fastgoal.bench.step import GOAL, StepBench
from fastgoal.bench.workload import docci_lengths, load, one_token_words, samples
from fastgoal.data.images import normalise
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.batches import Collator
from fastgoal.training.objective import Objective


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Patches of 16 pixels, as the released code takes for granted."""
    return save_small_clip(tmp_path_factory.mktemp("models") / "clip-16", size=64, patch=16, positions=248)


@pytest.fixture(scope="module")
def encoder(folder) -> DualEncoder:
    return DualEncoder.load(folder)


def gradients(encoder: DualEncoder, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("as_released", [False, True])
def test_both_sides_have_the_same_losses_and_gradients(encoder, as_released):
    work = samples(encoder, 12)
    reference = ReferenceStep(encoder=encoder, samples=work, weights=GOAL, as_released=as_released)
    with reference.running():
        theirs = reference(work.rows)
        their_gradients = gradients(encoder, theirs["loss"])
    ours = Objective(weights=GOAL)(encoder, Collator.of(encoder, work, GOAL)(work.rows))
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].item() == pytest.approx(theirs[name].item(), abs=1e-4)
    for name, gradient in gradients(encoder, ours["loss"]).items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-3, atol=1e-5)


def test_captions_have_the_lengths_of_docci(encoder):
    lengths = [sum(own) + 2 for own in docci_lengths()]
    assert len(lengths) == 256
    assert statistics.mean(lengths) == pytest.approx(142, abs=1)
    assert statistics.median(lengths) == pytest.approx(132, abs=1)
    work = samples(encoder, 6)
    for row, own in zip(work.rows, docci_lengths(), strict=False):
        assert len(encoder.tokenizer(row.caption)["input_ids"]) == sum(own) + 2
        assert [len(encoder.tokenizer(row.caption[a:b])["input_ids"]) - 2 for a, b in row.sentences] == list(own)


def test_words_are_single_tokens(encoder):
    words = one_token_words(encoder.tokenizer)
    assert len(words) > 10
    assert all(len(encoder.tokenizer(word, add_special_tokens=False)["input_ids"]) == 1 for word in words)


def test_operations_are_those_that_torch_counts(encoder):
    pixels = normalise(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), encoder.fit)
    with FlopCounterMode(display=False) as counted, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        encoder.encode_images(pixels)
    projection = 2 * 32 * encoder.dim
    assert arithmetic.image(encoder) + projection == pytest.approx(counted.get_total_flops(), rel=1e-3)


def test_the_arithmetic_bound_of_a_vit_b_16_is_the_known_one():
    encoder = load("vit-b-16")
    captions = [sum(own) + 2 for own in docci_lengths()]
    sentences = [round(statistics.mean(own)) + 2 for own in docci_lengths()]
    assert arithmetic.step_ratio(encoder, captions, sentences) == pytest.approx(2.65, abs=0.05)


def test_a_small_run(folder, together):
    speed, released, memory, made, waiting = StepBench(model=str(folder), batch=4, rounds=2, as_released=True).rows()
    for row in (speed, released):
        assert row.unit == "samples/s"
        assert row.ratio.min <= row.ratio.median <= row.ratio.max
        assert row.ours > 0 and row.reference > 0 and row.bound > 0
    assert memory.unit == "MiB"
    assert memory.ours > 100
    assert made.ours > 0
    assert 0 <= waiting.ours <= 100
