"""The training step beside the released code's way of doing it: speed, memory, and the share of the arithmetic bound.

Both sides have the same weights, batches, optimiser settings and threads. A step is tokenising, both towers forward and
backward, the loss and AdamW; images are in memory as views, because decoding is measured by itself.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fastgoal.bench import arithmetic
from fastgoal.bench.alone import alone
from fastgoal.bench.harness import Row, alternate, memory, rates, timed
from fastgoal.bench.reference import ReferenceStep
from fastgoal.bench.workload import VIT_B_16, Samples, docci_lengths, load, photo_table, samples
from fastgoal.devices import peak_memory
from fastgoal.losses import METHODS
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow
from fastgoal.training.batches import Collator, Views
from fastgoal.training.compiling import compiled
from fastgoal.training.config import TrainConfig
from fastgoal.training.objective import Objective
from fastgoal.training.order import EpochBatches, hash_keys
from fastgoal.training.precision import Precision, choose_precision
from fastgoal.training.texts import token_counts
from fastgoal.training.trainer import train

GOAL = METHODS["goal"]
NAMES = {"reference": "reference", "as released": "code as released"}
PrecisionName = Literal["auto", "fp32", "bf16"]
OPTIONS: dict[str, Any] = {"lr": 1e-12, "weight_decay": 0.05}
"""Of AdamW: so small a rate that the weights stay what they are."""
Step = Callable[[Sequence[PairsRow]], object]


@dataclass(frozen=True, kw_only=True)
class StepBench:
    """What is measured. precision, compile: of our side; the reference is float32, and not compiled."""

    model: str = VIT_B_16
    batch: int = 8
    rounds: int = 3
    device: str = "cpu"
    precision: PrecisionName = "auto"
    compile: bool = False
    as_released: bool = False

    def rows(self) -> list[Row]:
        others = [side for side in NAMES if side == "reference" or self.as_released]
        memory_rows = list(self._memory(others))  # before anything is held here
        encoder, other = load(self.model, self.device), load(self.model, self.device)
        work = samples(encoder, max(self.batch * self.rounds, len(docci_lengths())))
        batches = [[work.rows[i] for i in batch] for batch in _batches(encoder, work, self.batch)]
        steps = {"ours": _ours(encoder, work, self.precision), **{side: _theirs(side, other, work) for side in others}}
        with compiled(encoder, self.compile):
            for step in steps.values():
                step(batches[0][:2])  # first calls allocate; whole steps would take minutes on a CPU
            chosen = batches[:: max(1, len(batches) // self.rounds)][: self.rounds]
            sides = {side: _next_batch(step, chosen) for side, step in steps.items()}
            seconds = alternate(sides, self.rounds, warm=False, device=self.device)
        return [*self._speed(encoder, seconds), *memory_rows, *self._data(encoder)]

    def _speed(self, encoder: DualEncoder, seconds: dict[str, list[float]]) -> Iterator[Row]:
        captions = [sum(own) + 2 for own in docci_lengths()]
        sentences = [round(statistics.mean(own)) + 2 for own in docci_lengths()]
        operations = arithmetic.BACKWARD * arithmetic.ours_per_sample(encoder, captions, sentences)
        limit = arithmetic.step_ratio(encoder, captions, sentences)
        rate, known = arithmetic.peak(encoder.device)
        bound_is = f"matrix products at {known}; arithmetic allows {limit:.2f} x"
        for side, aim in (("reference", ">= 2.3"), ("as released", ">= 4")):
            if side in seconds:
                name = f"training step, {self.model}, batch {self.batch}, beside the {NAMES[side]}"
                two = {"ours": seconds["ours"], "reference": seconds[side]}
                yield rates(name, "samples/s", self.batch, two, bound=rate / operations, bound_is=bound_is, aim=aim)

    def _memory(self, others: Sequence[str]) -> Iterator[Row]:
        options = {"model": self.model, "batch": self.batch, "device": self.device, "precision": self.precision}
        peaks = {
            side: alone("fastgoal.bench.step:alone_step", side=side, **options)["step_mib"]
            for side in ("ours", others[0])
        }
        name = f"peak memory of that step, batch {self.batch}"
        yield memory(name, peaks["ours"], peaks[others[0]], aim="<= 0.6")

    def _data(self, encoder: DualEncoder) -> Iterator[Row]:
        """How fast one core makes samples of photographs, and whether a training waits for them."""
        with tempfile.TemporaryDirectory() as name:
            table = photo_table(Path(name) / "photos", encoder, 3 * self.batch)
            collate = Collator.of(encoder, Views(table.images, encoder.fit, 0), GOAL)
            batches = [list(table)[start : start + self.batch] for start in range(0, len(table), self.batch)]
            seconds = [timed(partial(collate, rows)) for rows in batches]
            made = {"ours": seconds}
            yield rates("making samples of 2,000 x 1,500 px, two views each", "samples/s per core", self.batch, made)
            config = TrainConfig(max_steps=3, batch_size=self.batch, learning_rate=1e-12, view_cache_mb=0)
            report = train(table, encoder, Path(name) / "run", config, progress=False)
        name = f"waiting for data in training, {self.model}, batch {self.batch}"
        yield Row(name=name, unit="% of the time", ours=100 * report.data_wait, aim="<= 10")


def _batches(encoder: DualEncoder, work: Samples, size: int) -> list[list[int]]:
    """An epoch as training would go through it."""
    ids, images = hash_keys(row.id for row in work.rows), hash_keys(row.image for row in work.rows)
    counts = token_counts(encoder.tokenizer, (row.caption for row in work.rows), encoder.text_limit)
    length_N = np.fromiter(counts, np.int64, len(work.rows))
    window = TrainConfig().length_window
    return list(EpochBatches(ids, images, batch_size=size, seed=0, length_N=length_N, window=window))


def _next_batch(step: Step, batches: Sequence[Sequence[PairsRow]]) -> Callable[[], object]:
    """A step that takes the next batch each time it is called; every side goes through the same ones."""
    coming = cycle(batches)
    return lambda: step(next(coming))


def _ours(encoder: DualEncoder, work: Samples, precision: PrecisionName) -> Step:
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=encoder.device.type in ("cpu", "cuda"), **OPTIONS)
    objective, dtype, collate = Objective(weights=GOAL), _dtype(encoder, precision), Collator.of(encoder, work, GOAL)

    def step(rows: Sequence[PairsRow]) -> None:
        terms = objective(encoder, collate(rows).to(encoder.device), dtype=dtype)
        torch.autograd.backward(terms["loss"])
        optimizer.step()
        optimizer.zero_grad()

    return step


def _theirs(side: str, encoder: DualEncoder, work: Samples) -> Step:
    optimizer = torch.optim.AdamW(encoder.parameters(), **OPTIONS)
    reference = ReferenceStep(encoder=encoder, samples=work, weights=GOAL, as_released=side == "as released")

    def step(rows: Sequence[PairsRow]) -> None:
        with reference.running():
            torch.autograd.backward(reference(rows)["loss"])
        optimizer.step()
        optimizer.zero_grad()

    return step


def _dtype(encoder: DualEncoder, precision: PrecisionName) -> torch.dtype | None:
    """As a training would run: `auto` measures."""
    choice = choose_precision(encoder, 32) if precision == "auto" else Precision(chosen=precision, reason="as asked")
    return choice.dtype


def alone_step(side: str, model: str, batch: int, device: str, precision: PrecisionName) -> dict[str, float]:
    """One step of one side, to be called in a process of its own; AdamW's moments are there before."""
    encoder = load(model, device)
    work = samples(encoder, max(batch, len(docci_lengths())))
    step = _ours(encoder, work, precision) if side == "ours" else _theirs(side, encoder, work)
    step(work.rows[:2])
    step([work.rows[i] for i in _batches(encoder, work, batch)[0]])
    return {"step_mib": peak_memory(encoder.device)}
