"""An experiment: one base model, some ways of training it, and what each is worth, measured side by side.

    match -> train every arm with every seed -> evaluate -> compare

Each stage is a function from files to files and is done once: when its result is there and was made from the same
inputs, it is read instead of repeated, so a job killed anywhere continues where it was when it is started again.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fastgoal.data.sentences import first_sentences
from fastgoal.data.source import Source
from fastgoal.errors import ConfigError, DataError
from fastgoal.evaluation import EvalResult
from fastgoal.files import read_json, write_json
from fastgoal.matching import MatchSettings, match, usual_rule
from fastgoal.matching.judge import NAMED
from fastgoal.models.blend import blend
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer
from fastgoal.regions.region import Proposer
from fastgoal.stages.credits import credit
from fastgoal.stages.exam import BASE, Exam, contrasts, slug
from fastgoal.training import TrainConfig, expect_trainable, train


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of training that an experiment compares: a name for tables, its settings, and which pairs it learns from.

    pairs: `matched` are the matcher's own; `true` are those that came with the data, an upper bound for any matcher.
    """

    name: str
    config: TrainConfig
    pairs: Literal["matched", "true"] = "matched"


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A trained arm blended with the base it came from: `alpha` of the one, the rest of the other."""

    name: str
    arm: str
    alpha: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides the figures: data, base model, candidate regions, arms and seeds.

    model: folder, hub id or `tiny`. matcher: the model that matches, at its own text limit; None is the base model.
    regions, detector, sam: see `make_proposer`; `lism` matches by LISM's rule. language: of the captions.
    mixtures: trained arms that are blended with the base and measured as well. seeds: every arm is trained once with
        each.
    short: samples with short captions, evaluated before and after to show what is kept; `first sentences` takes those
        of the test set (None: not measured).
    text_tokens: the text limit that the base is stretched to and trained at; None as in `TrainConfig`.
    """

    model: str
    train: Source
    val: Source
    test: Source
    arms: tuple[Arm, ...]
    mixtures: tuple[Mixture, ...] = ()
    seeds: tuple[int, ...] = (1337,)
    regions: str = "flism"
    detector: str | None = None
    sam: str | None = None
    matcher: str | None = None
    language: str = "en"
    short: Source | Literal["first sentences"] | None = None
    text_tokens: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) != len(names) or not self.seeds:
            raise ConfigError("arms need distinct names and a seed", where="methods", mend="Name each method once.")
        if unknown := [mixture.arm for mixture in self.mixtures if mixture.arm not in names]:
            raise ConfigError(
                f"no arm is called {unknown[0]!r}", where="mixtures", mend="Blend an arm that is trained."
            )


@dataclass(kw_only=True)
class Record:
    """What an experiment found, filled stage by stage.

    folders: model name -> model folders, one per seed. results: model name -> protocol -> results, likewise.
    histories: model name -> history rows of the first seed. match: report of the training table, and the
    fingerprint of the matcher that chose its pairs.
    tables: pairs by name. test: the test samples whose images can be read.
    seconds: per stage, of this call.
    """

    folders: dict[str, list[str]] = field(default_factory=dict)
    results: dict[str, dict[str, list[EvalResult]]] = field(default_factory=dict)
    paired: list[dict[str, Any]] = field(default_factory=list)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    match: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, PairsTable] = field(default_factory=dict)
    test: Source | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin


def carry_out(experiment: Experiment, out: Path, *, progress: bool = True) -> Record:
    """Run every stage in `out`: `pairs/`, `runs/`, `eval/`.

    Raises:
        FastgoalError: whatever a stage refuses; finished stages are kept and the next call continues.
    """
    record = Record()
    with record.timed("match"):
        _match(experiment, out / "pairs", record, progress)
        test = record.test = _readable(experiment.test, record.tables["test"])
    record.folders[BASE] = [experiment.model]
    for arm in experiment.arms:
        with record.timed(f"train {arm.name}"):
            record.folders[arm.name] = [
                _train(experiment, arm, seed, out, record, progress) for seed in experiment.seeds
            ]
    for mixture in experiment.mixtures:
        with record.timed(f"blend {mixture.name}"):
            record.folders[mixture.name] = [
                _blend(experiment, mixture, tuned, out / "runs" / f"{slug(mixture.name)}-{seed}")
                for seed, tuned in zip(experiment.seeds, record.folders[mixture.arm], strict=True)
            ]
    with record.timed("evaluate"):
        short = first_sentences(test, experiment.language) if isinstance(experiment.short, str) else experiment.short
        exam = Exam(test, record.tables["test"], short, experiment.text_tokens, experiment.device)
        for name, folders in record.folders.items():
            record.results |= exam.sit(name, folders, out / "eval")
            if name != BASE:
                credit(folders, record.results[name], test.name)
    record.paired = contrasts(record.results)
    return record


def _match(experiment: Experiment, folder: Path, record: Record, progress: bool) -> None:
    """The training table, that of its true pairs where an arm asks for them, and the joint test set.

    Where the test data comes with true boxes the joint set is made of true pairs; else the matcher chooses them.
    """
    base = DualEncoder.load(experiment.model, device=experiment.device)
    for arm in experiment.arms:
        expect_trainable(arm.config, base)  # now, and not after hours of matching
    matcher = DualEncoder.load(experiment.matcher, device=experiment.device) if experiment.matcher else base
    proposer = make_proposer(
        experiment.regions, detector=experiment.detector, sam=experiment.sam, device=experiment.device
    )
    matched = MatchSettings(language=experiment.language, rule=usual_rule(experiment.regions))
    true = replace(matched, rule="true")

    def table(name: str, source: Source, settings: MatchSettings, candidates: Proposer) -> None:
        report = match(source, matcher, candidates, folder / name, settings, progress)
        if report.images_per_second or not (folder / f"{name}.json").exists():  # else it was there already
            write_json(folder / f"{name}.json", report.to_json())
        record.tables[name] = PairsTable.open(folder / name)

    table("train", experiment.train, matched, proposer)
    table("val", experiment.val, matched, make_proposer("fixed"))  # validation asks for whole images only
    given = make_proposer("given")
    if any(arm.pairs == "true" for arm in experiment.arms):
        table("true", experiment.train, true, given)
    has_truth = any(region.span for sample in experiment.test for region in sample.regions)
    table("test", experiment.test, *((true, given) if has_truth else (matched, proposer)))
    others = [record.tables["val"], record.tables["test"]]
    report = _with_skips(read_json(folder / "train.json") or {}, others)
    record.match = report | {"matcher": record.tables["train"].manifest.origin.matcher}


def _with_skips(report: dict[str, Any], others: Iterable[PairsTable]) -> dict[str, Any]:
    """The training set's report, with the samples of the other sets that cannot be used named and counted too."""
    rows = [row for table in others for row in table if row.skip is not None]
    named = [{"id": row.id, "where": row.image, "reason": row.skip} for row in rows[:NAMED]]
    return report | {
        "skipped": dict(Counter(report.get("skipped", {})) + Counter(row.skip for row in rows)),
        "skipped_samples": [*report.get("skipped_samples", ()), *named],
    }


def _train(experiment: Experiment, arm: Arm, seed: int, out: Path, record: Record, progress: bool) -> str:
    """Train one arm with one seed; returns the folder of its best weights."""
    config = replace(arm.config, seed=seed, text_tokens=experiment.text_tokens)
    folder = out / "runs" / f"{slug(arm.name)}-{seed}"
    encoder = DualEncoder.load(experiment.model, device=experiment.device)
    table = record.tables["true" if arm.pairs == "true" else "train"]
    train(table, encoder, folder, config, val=record.tables["val"], resume=True, progress=progress)
    if arm.name not in record.histories:
        lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
        record.histories[arm.name] = [json.loads(line) for line in lines]
    return str(folder / "model")


def _blend(experiment: Experiment, mixture: Mixture, tuned: str, folder: Path) -> str:
    """Blend the weights of one seed; quicker to do again than to find out whether it was done of the same weights."""
    base = DualEncoder.load(experiment.model)
    blend(base, DualEncoder.load(tuned), mixture.alpha).save(folder / "model")
    return str(folder / "model")


def _readable(source: Source, table: PairsTable) -> Source:
    """The samples whose image matching could read."""
    skipped = {row.id for row in table if row.skip is not None}
    readable = source.without(skipped)
    if not len(readable):
        raise DataError("no image here can be read", where=source.root, mend="Mend the images of the test set.")
    return readable
