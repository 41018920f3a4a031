"""How time and memory grow with the amount of data, and with the batch where gradients are cached.

Every point is measured in a process of its own, sizes in turn within a round, so that a slow minute hits all of them.
What is asked is whether `seconds = a + b * size` holds, and whether memory stays where it was.

Shapes: P points, one per size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from fastgoal.bench.alone import alone
from fastgoal.bench.evaluation import DIMENSIONS, unit_
from fastgoal.bench.harness import Row, memory, timed
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.evaluation.metrics import first_relevant_rank
from fastgoal.matching import match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.progress import Progress
from fastgoal.regions import make_proposer
from fastgoal.training import TrainConfig, train

HERE = "fastgoal.bench.scaling"
QUERIES = 1000
BATCH = 16
MICRO_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured. scenes: of matching. gallery: items of retrieval. samples: of training, a multiple of 16.
    batches: samples compared with each other, multiples of 32. rounds: of every size."""

    scenes: tuple[int, ...] = (50, 100, 200, 400)
    gallery: tuple[int, ...] = (25_000, 50_000, 100_000, 200_000)
    samples: tuple[int, ...] = (64, 128, 256, 512)
    batches: tuple[int, ...] = (32, 64, 128, 256)
    rounds: int = 2


@dataclass(frozen=True, kw_only=True)
class Line:
    """`seconds = a + b * size` by least squares. r2: share of the variance explained; deviation: the largest of the
    points from the line, as a share of the line."""

    a: float
    b: float
    r2: float
    deviation: float

    @classmethod
    def through(cls, sizes: Sequence[float], seconds: Sequence[float]) -> "Line":
        size_P, seconds_P = np.asarray(sizes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
        b, a = np.polyfit(size_P, seconds_P, 1)
        line_P = a + b * size_P
        spread = float(((seconds_P - seconds_P.mean()) ** 2).sum())
        r2 = 1 - float(((seconds_P - line_P) ** 2).sum()) / spread if spread else 1.0
        return cls(a=float(a), b=float(b), r2=r2, deviation=float(np.abs(seconds_P / line_P - 1).max()))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One measurement over sizes. what: is done. of: what the sizes count. seconds, peak_mib: medians, one per size.
    linear: whether a line is expected of the seconds (with a fixed number of samples they should stay). flat: whether
    memory is expected to stay (it holds the embeddings of a gallery)."""

    what: str
    of: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    peak_mib: tuple[float, ...]
    linear: bool = True
    flat: bool = True

    @property
    def line(self) -> Line:
        return Line.through(self.sizes, self.seconds)

    def rows(self) -> list[Row]:
        """The points, the line through them, and how memory grew."""
        span = f"{self.what}, {self.sizes[0]:,} to {self.sizes[-1]:,} {self.of}"
        points = [
            Row(name=f"{self.what}, {size:,} {self.of}", unit="s", ours=took)
            for size, took in zip(self.sizes, self.seconds, strict=True)
        ]
        name, aim = f"{span}: memory at the most beside the fewest", "<= 1.1" if self.flat else ""
        return [*points, *self._fit(span), memory(name, self.peak_mib[-1], self.peak_mib[0], aim=aim)]

    def _fit(self, span: str) -> list[Row]:
        if not self.linear:
            return []
        line = self.line
        return [
            Row(name=f"{span}: the line at 0", unit="s", ours=line.a),
            Row(name=f"{span}: the line per 1,000", unit="s", ours=1000 * line.b),
            Row(name=f"{span}: R2 of the line", unit="share", ours=line.r2, aim=">= 0.99"),
            Row(name=f"{span}: largest deviation from the line", unit="share", ours=line.deviation, aim="<= 0.1"),
        ]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One measurement to make: `work` of a size gives `seconds` and `peak_mib`. The rest as in `Growth`."""

    what: str
    of: str
    sizes: tuple[int, ...]
    work: Callable[[int], Mapping[str, float]]
    linear: bool = True
    flat: bool = True

    def measured(self, rounds: int, bar: Progress) -> Growth:
        """Medians over the rounds, every other of which takes the sizes in the opposite order."""
        seconds_RP, peak_RP = [], []
        for number in range(rounds):
            points: dict[int, Mapping[str, float]] = {}
            for size in self.sizes[:: -1 if number % 2 else 1]:
                points[size] = self.work(size)
                bar.update()
            seconds_RP.append([points[size]["seconds"] for size in self.sizes])
            peak_RP.append([points[size]["peak_mib"] for size in self.sizes])
        seconds, peak_mib = (tuple(map(float, np.median(values_RP, axis=0))) for values_RP in (seconds_RP, peak_RP))
        return Growth(
            what=self.what,
            of=self.of,
            sizes=self.sizes,
            seconds=seconds,
            peak_mib=peak_mib,
            linear=self.linear,
            flat=self.flat,
        )


def scaling(sizes: Sizes, *, device: str = "cpu", progress: bool = True) -> list[Growth]:
    """All growths: matching, retrieval, training over the data, and training over the batch with cached gradients."""
    scenes = ScenesConfig(train=max(*sizes.scenes, *sizes.batches), val=0, test=0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "scenes", scenes, progress=progress)
        data, pairs = folder / "scenes" / "train", folder / "pairs"
        match(open_source(data), DualEncoder.load("tiny"), make_proposer("fixed"), pairs, progress=progress)
        sweeps = [*over_data(sizes, data, pairs, device), over_batch(sizes, pairs, device)]
        count = sizes.rounds * sum(len(sweep.sizes) for sweep in sweeps)
        with Progress(count, "bench scale", "point", show=progress) as bar:
            return [sweep.measured(sizes.rounds, bar) for sweep in sweeps]


def over_data(sizes: Sizes, data: Path, pairs: Path, device: str) -> list[Sweep]:
    return [
        Sweep(
            what="matching with tiny",
            of="scenes",
            sizes=sizes.scenes,
            work=lambda n: alone(f"{HERE}:matching_alone", data=data, limit=n, device=device),
        ),
        Sweep(
            what=f"retrieval of {QUERIES:,} queries",
            of="items",
            sizes=sizes.gallery,
            work=lambda n: alone(f"{HERE}:retrieval_alone", gallery=n),
            flat=False,
        ),
        Sweep(
            what=f"training of tiny, batch {BATCH}",
            of="samples",
            sizes=sizes.samples,
            work=lambda n: trained(pairs, device, batch_size=BATCH, max_steps=n // BATCH),
        ),
    ]


def over_batch(sizes: Sizes, pairs: Path, device: str) -> Sweep:
    """The same samples in batches of several sizes, of which `MICRO_BATCH` are in memory at once."""
    total = max(sizes.batches)
    return Sweep(
        what=f"training of tiny, {total:,} samples, {MICRO_BATCH} at once",
        of="in a batch",
        sizes=sizes.batches,
        work=lambda n: trained(pairs, device, batch_size=n, micro_batch=MICRO_BATCH, max_steps=total // n),
        linear=False,
    )


def trained(pairs: Path, device: str, **settings: int) -> dict[str, Any]:
    """Nothing decoded is kept, so that every sample costs the same however often it came."""
    return alone(f"{HERE}:training_alone", pairs=pairs, settings={**settings, "view_cache_mb": 0}, device=device)


def matching_alone(data: str, limit: int, device: str) -> dict[str, float]:
    """This and the next two are to be called in a process of their own."""
    source, encoder, proposer = (
        open_source(data, limit=limit),
        DualEncoder.load("tiny", device=device),
        make_proposer("flism"),
    )
    with TemporaryDirectory() as out:
        return {"seconds": timed(lambda: match(source, encoder, proposer, Path(out) / "pairs", progress=False), device)}


def retrieval_alone(gallery: int) -> dict[str, float]:
    torch.manual_seed(0)
    item_ND = unit_(torch.randn(gallery, DIMENSIONS))
    asked_Q = np.linspace(0, gallery - 1, QUERIES).astype(np.int64)
    query_QD = item_ND[asked_Q]
    return {"seconds": timed(lambda: first_relevant_rank(query_QD, item_ND, asked_Q, np.arange(gallery)))}


def training_alone(pairs: str, settings: Mapping[str, int], device: str) -> dict[str, float]:
    config, encoder = TrainConfig.from_mapping(settings), DualEncoder.load("tiny", device=device)
    with TemporaryDirectory() as out:
        report = train(PairsTable.open(pairs), encoder, Path(out) / "run", config, progress=False)
    return {"seconds": report.seconds}
