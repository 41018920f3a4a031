"""Cached gradients against those of the whole batch at once, in double precision unless said otherwise."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import save_siglip
from tests.training.gradients import Gradients, assert_gradients, gradients, kept_for_backward

from fastgoal.errors import FastgoalError
from fastgoal.losses import METHODS, LossWeights
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import LocalPair, PairsRow, PairsTable
from fastgoal.training import TrainConfig, train
from fastgoal.training.adapt import adapted
from fastgoal.training.batches import Batch, Collator, Views
from fastgoal.training.cached import CachedStep, RandomState
from fastgoal.training.choice import PairChoice
from fastgoal.training.encoding import Encoding, Features
from fastgoal.training.objective import Objective

WriteTable = Callable[..., PairsTable]
MIXED = (0, 3, 1, 8, 10, 7, 2)
"""Two samples without a pair (3 and 8) and two with one image (0 and 10)."""
TSL = LossWeights(global_=0, local=0, tsl=1)
CASES: dict[str, tuple[LossWeights, PairChoice, dict[str, Any]]] = {
    **{name: (weights, PairChoice(), {}) for name, weights in METHODS.items()},
    "hard negatives": (METHODS["goal"], PairChoice(), {"hard_negatives": 2.0}),
    "matrix": (METHODS["goal"], PairChoice(count=3), {"tsl_target": "matrix"}),
    "given locals": (METHODS["goal"], PairChoice(), {"tsl_stop_gradient": True}),
    "tsl alone": (TSL, PairChoice(), {}),
    "tsl alone, given locals": (TSL, PairChoice(), {"tsl_stop_gradient": True}),
    "three pairs": (METHODS["goal"], PairChoice(count=3, weights="similarity"), {}),
    "in-image negatives": (METHODS["no-tsl"], PairChoice(count=3, in_image_negatives=True), {}),
}


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is meant to be float32 is float64, so that no equality is one of rounding."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.fixture
def exact(encoder: DualEncoder, double: None) -> DualEncoder:
    return encoder.double()


def rows_of(table: PairsTable, numbers: tuple[int, ...] = MIXED) -> list[PairsRow]:
    """With a third pair for those that have any."""
    third = LocalPair(sentence=1, region=0, similarity=0.1)
    rows = [table[number] for number in numbers]
    return [replace(row, pairs=(*row.pairs, third)) if row.pairs else row for row in rows]


def batch_of(
    table: PairsTable, encoder: DualEncoder, weights: LossWeights, choice: PairChoice, rows: list[PairsRow]
) -> Batch:
    return Collator.of(encoder, Views(table.images, encoder.fit, 2**20), weights, choice=choice)(rows)


def whole(objective: Objective, encoder: DualEncoder, batch: Batch, **options: Any) -> Gradients:
    return gradients(encoder, lambda: objective(encoder, batch, **options)["loss"].backward())


def cached(
    objective: Objective, encoder: DualEncoder, batch: Batch, micro_batch: int, dtype: torch.dtype | None = None
) -> Gradients:
    step = CachedStep(objective, encoder, batch, micro_batch, model=Encoding(encoder, objective.weights, dtype))
    return gradients(encoder, lambda: step.backward(step.terms()["loss"]))


@pytest.mark.parametrize("case", CASES)
def test_every_term_has_the_gradient_of_the_whole_batch(write_table: WriteTable, exact: DualEncoder, case: str) -> None:
    weights, choice, options = CASES[case]
    table, objective = write_table(), Objective(weights=weights, **options)
    batch = batch_of(table, exact, weights, choice, rows_of(table))
    wanted, terms = whole(objective, exact, batch), objective(exact, batch)
    for micro_batch in (1, 3, 7):
        assert_gradients(cached(objective, exact, batch, micro_batch), wanted, within=1e-9)
        found = CachedStep(objective, exact, batch, micro_batch).terms()
        assert found.keys() == terms.keys()
        for name, term in terms.items():
            torch.testing.assert_close(found[name], term, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_in_single_precision_it_is_a_matter_of_rounding(
    write_table: WriteTable, encoder: DualEncoder, method: str
) -> None:
    table, objective = write_table(), Objective(weights=METHODS[method])
    batch = batch_of(table, encoder, METHODS[method], PairChoice(), rows_of(table))
    assert_gradients(cached(objective, encoder, batch, 3), whole(objective, encoder, batch), within=1e-5)


def test_the_towers_in_bfloat16_stay_near(write_table: WriteTable, encoder: DualEncoder) -> None:
    table, objective, rough = write_table(), Objective(weights=METHODS["goal"]), {"dtype": torch.bfloat16}
    batch = batch_of(table, encoder, METHODS["goal"], PairChoice(), rows_of(table))
    wanted = whole(objective, encoder, batch, **rough)
    assert_gradients(cached(objective, encoder, batch, 3, **rough), wanted, within=0.02)


def test_without_any_pair_only_the_global_term_learns(write_table: WriteTable, exact: DualEncoder) -> None:
    table, objective = write_table(), Objective(weights=METHODS["goal"])
    batch = batch_of(table, exact, METHODS["goal"], PairChoice(), rows_of(table, (3, 8)))
    assert_gradients(cached(objective, exact, batch, 1), whole(objective, exact, batch), within=1e-9)


@pytest.mark.parametrize("method", ["global", "no-tsl"])
def test_siglips_loss_with_its_bias_and_its_padding(
    write_table: WriteTable, tmp_path: Path, double: None, method: str
) -> None:
    encoder = DualEncoder.load(save_siglip(tmp_path / "siglip")).double()
    table, objective = write_table(), Objective(weights=METHODS[method])
    batch = batch_of(table, encoder, METHODS[method], PairChoice(count=3), rows_of(table))
    wanted = whole(objective, encoder, batch)
    assert float(wanted["model.logit_bias"].abs()) > 1e-3
    assert_gradients(cached(objective, encoder, batch, 3), wanted, within=1e-9)


@pytest.mark.parametrize("towers", [("lora", "lora"), ("frozen", "lora"), ("full", "frozen")])
def test_only_what_learns_has_a_gradient(write_table: WriteTable, exact: DualEncoder, towers: tuple[Any, Any]) -> None:
    table, objective = write_table(), Objective(weights=METHODS["goal"])
    batch = batch_of(table, exact, METHODS["goal"], PairChoice(), rows_of(table))
    with adapted(exact, TrainConfig(image_tower=towers[0], text_tower=towers[1])):
        for name, parameter in exact.named_parameters():
            if "lora_B" in name:  # which start at 0, so that the other matrix would have no gradient
                parameter.data.normal_()
        exact.double()
        assert_gradients(cached(objective, exact, batch, 3), whole(objective, exact, batch), within=1e-9)


def part_by_part(objective: Objective, encoder: DualEncoder, batch: Batch, micro_batch: int) -> None:
    """The whole graph at once, but what is drawn is drawn part by part."""
    starts = range(0, len(batch.ids), micro_batch)
    encode = Encoding(encoder, objective.weights)
    parts = [encode(batch.part(start, start + micro_batch)) for start in starts]
    names = ("whole_BD", "caption_BD", "crop_VD", "sentence_VD", "patch_VD", "token_VD")
    together = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    objective.terms(encoder, Features(**together), batch.belonging)["loss"].backward()


def test_dropout_draws_the_same_twice_and_goes_on_behind_the_first(write_table: WriteTable, exact: DualEncoder) -> None:
    table, objective = write_table(), Objective(weights=METHODS["goal"])
    batch = batch_of(table, exact, METHODS["goal"], PairChoice(), rows_of(table, (0, 1, 2, 4, 5)))
    for module in exact.modules():
        if hasattr(module, "k_proj"):
            module.dropout = 0.3
    exact.train()
    torch.manual_seed(5)
    wanted = gradients(exact, lambda: part_by_part(objective, exact, batch, 2))
    following = torch.rand(3)
    torch.manual_seed(5)
    found = cached(objective, exact, batch, 2)
    assert torch.equal(torch.rand(3), following)
    assert_gradients(found, wanted, within=1e-9)
    with pytest.raises(AssertionError):
        assert_gradients(cached(objective, exact, batch, 2), wanted, within=1e-3)


def test_random_numbers_come_again_and_go_on_even_after_an_error() -> None:
    torch.manual_seed(5)
    state, drawn = RandomState(torch.device("cpu")), torch.rand(4)
    following = torch.rand(2)
    with state.again():
        assert torch.equal(torch.rand(4), drawn)
        assert torch.equal(torch.rand(2), following)
    torch.manual_seed(5)
    torch.rand(4)
    with pytest.raises(ZeroDivisionError), state.again():
        _ = torch.rand(1) / (1 // 0)
    assert torch.equal(torch.rand(2), following)


def test_what_is_kept_for_backward_is_that_of_a_micro_batch(write_table: WriteTable, encoder: DualEncoder) -> None:
    table, objective = write_table(count=21), Objective(weights=METHODS["goal"])
    rows = [row for row in table if row.pairs][:16]
    large, small = (batch_of(table, encoder, METHODS["goal"], PairChoice(), rows[:size]) for size in (16, 4))
    peaks = {}
    for name, run in {
        "large": lambda: whole(objective, encoder, large),
        "small": lambda: whole(objective, encoder, small),
        "cached": lambda: cached(objective, encoder, large, 4),
    }.items():
        with kept_for_backward(encoder) as kept:
            run()
        peaks[name] = kept.peak
    assert peaks["large"] > 3.5 * peaks["small"]
    assert peaks["cached"] < 1.3 * peaks["small"]


SETTINGS: dict[str, Any] = {"batch_size": 5, "learning_rate": 1e-4, "text_tokens": 77, "log_every": 1, "max_steps": 3}


@pytest.mark.parametrize("extra", [{}, {"accumulate": 2, "batch_size": 4}, {"method": "local", "clip_norm": 0.5}])
def test_a_run_goes_where_it_goes_without(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path, extra: dict[str, Any]
) -> None:
    """Of the eleven samples in fours, two batches make the first step of an epoch and the third alone the second."""
    table, weights = write_table(), []
    for micro_batch in (None, 2):
        encoder, run = DualEncoder.load(small_clip_folder), tmp_path / str(micro_batch)
        config = TrainConfig(**{**SETTINGS, **extra}, micro_batch=micro_batch)
        train(table, encoder, run, config, progress=False)
        weights.append(encoder.state_dict())
    rows = [(tmp_path / run / "history.jsonl").read_text().splitlines() for run in ("None", "2")]
    losses = [[json.loads(line)["loss"] for line in own] for own in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    start = DualEncoder.load(small_clip_folder).state_dict()
    assert not torch.allclose(weights[0]["model.visual_projection.weight"], start["model.visual_projection.weight"])
    for name, value in weights[0].items():
        # The gradient of a key's bias is 0 but for rounding, which Adam scales up to full steps.
        atol = 1e-3 if name.endswith("k_proj.bias") else 1e-5
        torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=atol)


def test_a_run_goes_on_bit_for_bit_and_may_do_so_in_less_memory(
    write_table: WriteTable, small_clip_folder: Path, tmp_path: Path
) -> None:
    table, config = write_table(), TrainConfig(**SETTINGS, micro_batch=2, save_every=1, eval_every=1)

    def run(name: str, micro_batch: int, val: Callable[[DualEncoder], float] | None, *, resume: bool = False) -> bytes:
        settings, encoder = replace(config, micro_batch=micro_batch), DualEncoder.load(small_clip_folder)
        train(table, encoder, tmp_path / name, settings, val=val, resume=resume, progress=False)
        return (tmp_path / name / "checkpoints" / "checkpoint-3" / "model.safetensors").read_bytes()

    ends = {"straight": run("straight", 2, None)}
    for name, micro_batch in (("same", 2), ("smaller", 1)):
        scores = iter([0.0, 0.0])  # of the untrained weights and of step 1; there is no third
        with pytest.raises(StopIteration):
            run(name, 2, lambda _, scores=scores: next(scores))
        ends[name] = run(name, micro_batch, lambda _: 0.0, resume=True)
    assert ends["same"] == ends["straight"]
    assert ends["smaller"] != ends["straight"]


def test_a_loss_that_is_not_a_number_stops_a_cached_run(
    write_table: WriteTable, encoder: DualEncoder, tmp_path: Path
) -> None:
    encoder.model.visual_projection.weight.data[0, 0] = float("nan")
    with pytest.raises(FastgoalError, match="nan at step 1"):
        train(write_table(), encoder, tmp_path / "run", TrainConfig(**SETTINGS, micro_batch=2), progress=False)
    assert all(parameter.grad is None for parameter in encoder.parameters())
