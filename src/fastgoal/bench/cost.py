"""What matching and training will cost: seconds as a function of samples, crops per image, tokens and model.

    seconds = start + samples * (own + images / image_rate + texts / text_rate)

`images` and `texts` are a sample's operations in the two towers, which follow from crops, tokens and model by
arithmetic (`bench.arithmetic`); what this machine makes of them is found by runs that differ in crops, in tokens and in
samples, each in a process of its own. A run several times as large, in the midst of them and for matching at a setting
that none of them had, then says how far off the forecast is.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from scipy.optimize import nnls  # type: ignore[import-untyped]

from fastgoal.bench import arithmetic
from fastgoal.bench.alone import alone
from fastgoal.bench.harness import Row, Spread, timed
from fastgoal.bench.workload import docci_lengths, load
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.matching import MatchSettings, match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.progress import Progress
from fastgoal.regions import Combined, FixedRegions, ProposalRegions
from fastgoal.training import TrainConfig, train
from fastgoal.training.texts import token_counts

HERE = "fastgoal.bench.cost"
FEW, MANY = 2, 12
"""Crops per image, at most, of the runs that are fitted."""
CROPS = 17
"""Of the read-out: FLISM with twelve regions of a detector and the five boxes."""
READ_OUT = (1_000_000, 100_000_000, 1_000_000_000)
DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """Of one sample: operations in the image tower and in the text tower."""

    images: float
    texts: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run: what it was, how many samples of how much work, and how long it took."""

    name: str
    samples: int
    work: Work
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage costs on a machine. start: seconds of a run. own: seconds of a sample outside the towers (reading,
    decoding, regions, writing). image_rate, text_rate: operations per second that the towers reach."""

    start: float
    own: float
    image_rate: float
    text_rate: float

    @classmethod
    def fit(cls, points: Sequence[Point]) -> "Cost":
        """The cost whose relative errors are smallest (least squares, nothing negative)."""
        terms_P4 = np.array([[1, p.samples, p.samples * p.work.images, p.samples * p.work.texts] for p in points])
        terms_P4 = terms_P4 / np.array([[p.seconds] for p in points])
        scale_4 = terms_P4.max(axis=0)  # operations and seconds are 12 orders apart
        found_4, _ = nnls(terms_P4 / scale_4, np.ones(len(points)))
        start, own, image, text = (float(value) for value in found_4 / scale_4)
        return cls(start=start, own=own, image_rate=_inverse(image), text_rate=_inverse(text))

    def per_sample(self, work: Work) -> float:
        """Seconds of a sample."""
        return self.own + work.images / self.image_rate + work.texts / self.text_rate

    def seconds(self, samples: int, work: Work) -> float:
        """Seconds of a run."""
        return self.start + samples * self.per_sample(work)


def _inverse(value: float) -> float:
    return 1 / value if value else float("inf")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage, fitted and checked. read_out: the work of a sample as real data has it."""

    name: str
    points: tuple[Point, ...]
    check: Point
    read_out: Work

    @property
    def cost(self) -> Cost:
        return Cost.fit(self.points)

    def rows(self) -> Iterator[Row]:
        """The fitted terms, how well they fit, the check, and what a million samples and more will take."""
        cost = self.cost
        yield Row(name=f"{self.name}: start of a run", unit="s", ours=cost.start)
        yield Row(name=f"{self.name}: a sample outside the towers", unit="ms", ours=1e3 * cost.own)
        yield Row(name=f"{self.name}: image tower", unit="GFLOP/s", ours=cost.image_rate / 1e9)
        yield Row(name=f"{self.name}: text tower", unit="GFLOP/s", ours=cost.text_rate / 1e9)
        off = max(abs(point.seconds / cost.seconds(point.samples, point.work) - 1) for point in self.points)
        yield Row(name=f"{self.name}: largest deviation of {len(self.points)} runs", unit="share", ours=off)
        forecast = cost.seconds(self.check.samples, self.check.work)
        ratio = self.check.seconds / forecast
        yield Row(
            name=f"{self.name}: {self.check.name}, beside the forecast",
            unit="s",
            ours=self.check.seconds,
            reference=forecast,
            ratio=Spread.of([ratio]),
            aim="0.9 to 1.1",
        )
        for samples in READ_OUT:
            days = cost.seconds(samples, self.read_out) / DAY
            yield Row(name=f"{self.name}: {samples:,} samples, {CROPS} crops, DOCCI's texts", unit="days", ours=days)


@dataclass(frozen=True, kw_only=True)
class CostBench:
    """What is measured. samples: of the runs that are fitted. times: as many more has the run that checks."""

    model: str = "tiny"
    samples: int = 300
    times: int = 10
    batch: int = 16
    device: str = "cpu"

    def rows(self) -> list[Row]:
        return [row for stage in self.stages() for row in stage.rows()]

    def stages(self, *, progress: bool = True) -> list[Stage]:
        with TemporaryDirectory() as name, Progress(26, "bench cost", "run", show=progress) as bar:
            folder, count = Path(name), self.samples * self.times
            captions: Literal["long", "short"]
            for captions in ("long", "short"):
                scenes = ScenesConfig(train=count if captions == "long" else self.samples, val=0, test=0)
                write_scenes(folder / captions, replace(scenes, captions=captions), progress=False)
            run = _Runs(bench=self, folder=folder, bar=bar)
            encoder = load(self.model)
            return [
                Stage(name=f"matching, {self.model}", **run.of(run.match), read_out=matching_of_docci(encoder)),
                Stage(name=f"training, {self.model}", **run.of(run.train), read_out=training_of_docci(encoder)),
            ]


@dataclass(frozen=True, kw_only=True)
class _Runs:
    bench: CostBench
    folder: Path
    bar: Progress

    def of(self, run: Callable[..., Point]) -> dict[str, Any]:
        """The runs to fit and the one that checks, by captions, much or little to do for the images, and samples.
        Matching comes first: it makes the tables that training reads."""
        many, few = self.bench.samples, max(self.bench.batch, self.bench.samples // 3)
        asked = [("long", True, many), ("long", True, few), ("long", False, many)]
        asked += [("short", True, many), ("short", False, many), ("short", False, few)]
        before = [self._told(run, *one) for one in asked]
        check = self._told(run, "long", True, many * self.bench.times, check=True)
        after = [self._told(run, *one) for one in reversed(asked)]  # a machine that slows down slows both sides down
        return {"points": (*before, *after), "check": check}

    def _told(self, run: Callable[..., Point], *asked: object, check: bool = False) -> Point:
        point = run(*asked, check)
        self.bar.update()
        return point

    def match(self, captions: str, much: bool, samples: int, check: bool) -> Point:
        """With twelve crops or two; the check has the five boxes besides."""
        crops = MANY if much else FEW
        found = alone(
            f"{HERE}:matching_alone",
            data=self.folder / captions / "train",
            out=self._pairs(captions, crops, samples, check),
            crops=crops,
            fixed=check,
            samples=samples,
            model=self.bench.model,
            device=self.bench.device,
        )
        return _point(f"{samples:,} samples, {found['crops']:.1f} crops", found)

    def train(self, captions: str, much: bool, samples: int, check: bool) -> Point:
        """`goal`, with two views and two texts of a sample, or `global`, with one."""
        method, batch = "goal" if much else "global", self.bench.batch
        found = alone(
            f"{HERE}:training_alone",
            pairs=self._pairs(captions, MANY, samples if check else self.bench.samples, check),
            settings={"method": method, "batch_size": batch, "max_steps": samples // batch, "view_cache_mb": 0},
            model=self.bench.model,
            device=self.bench.device,
        )
        return _point(f"{found['samples']:,} samples, {method}", found)

    def _pairs(self, captions: str, crops: int, samples: int, check: bool) -> Path:
        return self.folder / f"{captions}-{crops}-{samples}{'-check' * check}"


def _point(name: str, found: Mapping[str, Any]) -> Point:
    work = Work(images=found["images"], texts=found["texts"])
    return Point(name=name, samples=found["samples"], work=work, seconds=found["seconds"])


def matching_alone(
    data: str, out: str, crops: int, fixed: bool, samples: int, model: str, device: str
) -> dict[str, float]:
    """This and the next are to be called in a process of their own."""
    encoder, regions = load(model, device), ProposalRegions(max_regions=crops)
    proposer = Combined([regions, FixedRegions()]) if fixed else regions
    source = open_source(data, limit=samples)
    settings = MatchSettings(overwrite=True)
    seconds = timed(lambda: match(source, encoder, proposer, out, settings, progress=False), device)
    rows = list(PairsTable.open(out))
    per_image = sum(len(row.regions) for row in rows) / len(rows)
    work = {"images": per_image * arithmetic.image(encoder), "texts": sentences_of(encoder, rows) / len(rows)}
    return {"seconds": seconds, "samples": len(rows), "crops": per_image, **work}


def sentences_of(encoder: DualEncoder, rows: Sequence[PairsRow]) -> float:
    """Operations of all sentences; within a shard, equal ones are embedded once."""
    size = MatchSettings().shard_rows
    shards = [rows[first : first + size] for first in range(0, len(rows), size)]
    texts = [{row.caption[start:end] for row in shard for start, end in row.sentences} for shard in shards]
    counts = token_counts(encoder.tokenizer, (text for own in texts for text in own), encoder.text_limit)
    return sum(arithmetic.text(encoder, tokens) for tokens in counts)


def training_alone(pairs: str, settings: Mapping[str, Any], model: str, device: str) -> dict[str, float]:
    config, encoder, table = TrainConfig.from_mapping(settings), load(model, device), PairsTable.open(pairs)
    samples = config.batch_size * (config.max_steps or 0)
    with TemporaryDirectory() as out:
        seconds = train(table, encoder, Path(out) / "run", config, progress=False).seconds
    local = config.method == "goal"
    texts = [row.caption for row in table]
    texts += [_best_sentence(row) for row in table if row.pairs and local]
    counts = token_counts(encoder.tokenizer, texts, encoder.text_limit)
    forward = sum(arithmetic.text(encoder, tokens) for tokens in counts) / len(table)
    images = arithmetic.image(encoder) * (2 if local else 1)
    return {
        "seconds": seconds,
        "samples": samples,
        "images": arithmetic.BACKWARD * images,
        "texts": arithmetic.BACKWARD * forward,
    }


def _best_sentence(row: PairsRow) -> str:
    start, end = row.sentences[row.pairs[0].sentence]
    return row.caption[start:end]


def matching_of_docci(encoder: DualEncoder) -> Work:
    """The work of matching a sample of DOCCI's lengths."""
    sentences = [[arithmetic.text(encoder, tokens + 2) for tokens in own] for own in docci_lengths()]
    texts = statistics.mean(sum(own) for own in sentences)
    return Work(images=CROPS * arithmetic.image(encoder), texts=texts)


def training_of_docci(encoder: DualEncoder) -> Work:
    """The work of a step of `goal` per sample of DOCCI's lengths."""
    captions = [sum(own) + 2 for own in docci_lengths()]
    sentences = [round(statistics.mean(own)) + 2 for own in docci_lengths()]
    images = arithmetic.BACKWARD * 2 * arithmetic.image(encoder)
    both = arithmetic.BACKWARD * arithmetic.ours_per_sample(encoder, captions, sentences)
    return Work(images=images, texts=both - images)
