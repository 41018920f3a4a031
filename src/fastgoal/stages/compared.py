"""Finished runs against each other: the values of each query that their evaluations kept, paired.

Every run is judged by the first one. A difference is told only where both answered the same queries; where the test
sets or protocols are others, or the values are gone, the report says so in the place of a figure.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastgoal.data.store import ImageStore
from fastgoal.errors import DataError
from fastgoal.evaluation import EvalResult, compare
from fastgoal.evaluation.results import Queries
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.report import Duel, Hit, ReportInput, RetrievalExample, renamers, together
from fastgoal.report.input import Picture, is_base
from fastgoal.report.numbers import runs as seeds_of
from fastgoal.stages.exam import FIGURES
from fastgoal.stages.kept import key_of

SHOWN = 4
"""Captions shown in either direction."""
ASKED = "long-retrieval"
"""The protocol whose queries are looked at one by one."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A result as it lies in a run's folder, and what it was made from."""

    result: EvalResult
    key: Mapping[str, Any]

    def expect_same_queries(self, other: "Kept") -> None:
        """Raises DataError where the other is of another test set; ids alone might agree by chance."""
        mine, theirs = self.result.items, other.result.items
        if self.key.get("data") != other.key.get("data"):
            counts = f"{mine:,} and {theirs:,} items" if mine != theirs else f"{mine:,} items each"
            raise DataError(f"the test sets differ ({counts})")
        if self.key.get("pairs") != other.key.get("pairs"):
            raise DataError("the joint test sets differ: other sentences or regions were chosen")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run: its name, its folder, what its `metrics.json` says, and the folder of its test images if they
    were moved."""

    name: str
    folder: Path
    report: ReportInput
    root: str | Path | None = None

    def kept(self, model: str, protocol: str) -> list[Kept]:
        """The results of a model, one per seed, with their values per query.

        Raises:
            DataError: they are not there, or of other weights than the report's.
        """
        paths = [self._file(one) for one in seeds_of(self.report.results[model][protocol])]
        return [Kept(result=EvalResult.load(path), key=key_of(path) or {}) for path in paths]

    def _file(self, one: Mapping[str, Any]) -> Path:
        """Where the result lies that metrics.json repeats: of this model, these weights and this text limit."""
        told = ("model", "model_fingerprint", "text_tokens")
        for path in sorted(self.folder.glob(f"eval/*/{one.get('protocol')}.json")):
            record = _record(path)
            if path.with_suffix(".npz").is_file() and all(record.get(name) == one.get(name) for name in told):
                return path
        raise DataError(f"run {self.name} has kept no values per query")

    def rows(self, ids: Sequence[str]) -> tuple[ImageStore, dict[str, PairsRow]]:
        """The samples of the test set with these ids, and where their images lie.

        Raises:
            DataError: the test set's table is not there.
        """
        table = PairsTable.open(self.folder / "pairs" / "test", root=self.root)
        wanted = set(ids)
        return table.images, {row.id: row for row in table if row.id in wanted}


def _record(path: Path) -> dict[str, Any]:
    """A JSON object; empty where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(kw_only=True)
class _Found:
    """What there is to say of one run judged by the first."""

    rivals: list[tuple[str, str]] = field(default_factory=list)
    paired: list[dict[str, Any]] = field(default_factory=list)
    duels: list[Duel] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def compared(finished: Sequence[Finished], title: str) -> ReportInput:
    """One report of several runs, each judged by the first, query by query.

    Args:
        finished: the runs, under distinct names.

    Raises:
        ConfigError: no run at all.
    """
    reports = {run.name: run.report for run in finished}
    merged = together(reports, title)
    if len(finished) < 2:
        return merged
    names = renamers(reports)
    every = [_judged(run, finished[0], names[run.name], names[finished[0].name]) for run in finished[1:]]
    rivals = [pair for found in every for pair in found.rivals]
    heads: dict[str, Any] = {"headline": rivals[0][0], "baseline": rivals[0][1]} if rivals else {}
    return replace(
        merged,
        rivals=rivals,
        paired=[*(entry for found in every for entry in found.paired), *merged.paired],
        duels=[duel for found in every for duel in found.duels],
        doubts=[*(doubt for found in every for doubt in found.doubts), *merged.doubts],
        **heads,
    )


def _judged(run: Finished, first: Finished, name: Callable[[str], str], name_of_first: Callable[[str], str]) -> _Found:
    found = _Found()
    if run.report.subject is None or first.report.subject is None:
        found.doubts.append(f"{run.name} and {first.name} are not compared: nothing was trained in one of them.")
        return found
    subjects = name(run.report.subject), name_of_first(first.report.subject)
    if subjects[0] == subjects[1]:
        found.doubts.append(f"{run.name} has the same figures as {first.name}.")
        return found
    found.rivals.append(subjects)
    for ours, theirs in _matched(run.report, first.report):
        a, b = name(ours), name_of_first(theirs)
        if a != b:
            differences, reasons = _differences(run, first, (ours, theirs))
            found.paired += [{**entry, "a": a, "b": b} for entry in differences]
            found.doubts += [f"{run.name} is not compared with {first.name} by {reason}." for reason in reasons]
    found.doubts = list(dict.fromkeys(found.doubts))
    queries = _same_queries(run, first)
    if queries is not None:
        duel, doubt = _duel(dict(zip(subjects, queries, strict=True)), run)
        found.duels.append(duel)
        found.doubts += [doubt] * bool(doubt)
    return found


def _matched(ours: ReportInput, theirs: ReportInput) -> list[tuple[str, str]]:
    """Which model is judged by which: the runs' subjects, and every model by its namesake, else, if it was trained, by
    the other run's subject."""
    others = [(m, m if m in theirs.models else theirs.subject) for m in ours.models]
    every = [(ours.subject, theirs.subject), *((a, b) for a, b in others if a == b or not is_base(a))]
    return list(dict.fromkeys((a, b) for a, b in every if a is not None and b is not None))


def _differences(run: Finished, first: Finished, models: tuple[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The paired differences of two models, and where there is none, `PROTOCOL: why`."""
    found: list[dict[str, Any]] = []
    reasons: list[str] = []
    for protocol, figures in FIGURES.items():
        if any(protocol not in one.report.results[model] for one, model in zip((run, first), models, strict=True)):
            continue
        try:
            a, b = run.kept(models[0], protocol), first.kept(models[1], protocol)
            a[0].expect_same_queries(b[0])
            found += [compare([one.result for one in a], [one.result for one in b], figure) for figure in figures]
        except DataError as error:
            reasons.append(f"{protocol}: {error.what}")
    return found, reasons


def _same_queries(run: Finished, first: Finished) -> tuple[Queries, Queries] | None:
    """The captions as queries under both subjects (first seeds); None where they are not the same ones, which
    `_differences` says, or were not asked."""
    try:
        ours, theirs = (one.kept(str(one.report.subject), ASKED)[0] for one in (run, first))
        ours.expect_same_queries(theirs)
    except (DataError, KeyError):
        return None
    return ours.result.queries["t2i"], theirs.result.queries["t2i"]


def _duel(queries: Mapping[str, Queries], run: Finished) -> tuple[Duel, str]:
    """Two models caption by caption, and what is doubtful about it."""
    (a, ours), (b, theirs) = queries.items()
    gain_Q = theirs.rank_Q - ours.rank_Q
    gains = [int(i) for i in np.lexsort((ours.rank_Q, -gain_Q))[:SHOWN] if gain_Q[i] > 0]
    losses = [int(i) for i in np.lexsort((theirs.rank_Q, gain_Q))[:SHOWN] if gain_Q[i] < 0]
    doubt, images, rows = "", None, dict[str, PairsRow]()
    try:
        images, rows = run.rows([str(ours.id_Q[i]) for i in (*gains, *losses)])
    except DataError as error:
        doubt = f"The captions on which {a} and {b} differ most are named only: {error}"
    duel = Duel(
        a=a,
        b=b,
        better=int((gain_Q > 0).sum()),
        worse=int((gain_Q < 0).sum()),
        equal=int((gain_Q == 0).sum()),
        gains=[_example(i, queries, images, rows) for i in gains],
        losses=[_example(i, queries, images, rows) for i in losses],
    )
    return duel, doubt


def _example(
    place: int, queries: Mapping[str, Queries], images: ImageStore | None, rows: Mapping[str, PairsRow]
) -> RetrievalExample:
    """One caption with its rank and the first image under each model."""
    asked = next(iter(queries.values()))
    name, own = str(asked.id_Q[place]), str(asked.image_Q[place])
    firsts = {model: first for model, q in queries.items() if (first := _first(q, place)) is not None}
    return RetrievalExample(
        id=name,
        name=own,
        query=rows[name].caption if name in rows else name,
        truth=_picture(images, own),
        ranks={model: int(q.rank_Q[place]) for model, q in queries.items()},
        hits={m: [Hit(image=_picture(images, uri), correct=uri == own, name=uri)] for m, uri in firsts.items()},
    )


def _first(queries: Queries, place: int) -> str | None:
    """The image that came first; None where that was not kept."""
    if queries.rank_Q[place] == 1:
        return str(queries.image_Q[place])
    return None if queries.wrong_Q is None else str(queries.wrong_Q[place])


def _picture(images: ImageStore | None, uri: str) -> Picture | None:
    """What the page makes a thumbnail of; a picture that has gone does not stop a report."""
    try:
        return None if images is None else images.open(uri)
    except DataError:
        return None
