"""The figures of a report: one table shared by the page, the Markdown and the terminal.

A `Measure` is one column (protocol, direction, key such as `R@1`); an `Estimate` is one model's figure for it with its
95 % interval. Several seeds give the mean, the sample deviation and Student's interval of the mean. A `Contrast` is a
paired difference; the best model of a column is marked only where its paired interval against the runner-up, and
against every other model it was compared with, lies above zero.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastgoal.report.input import ReportInput, Result

Kind = Literal["retrieval", "joint", "localisation", "short", "other"]
Direction = Literal["t2i", "i2t"]
Sign = Literal["above", "below", "open", "unknown"]

# Student's t, two-sided 95 %, by degrees of freedom; beyond ten the normal value is within a tenth.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
RANK: dict[Kind, int] = {"retrieval": 0, "joint": 1, "localisation": 2, "short": 3, "other": 4}
DIRECTIONS: dict[Direction, str] = {"t2i": "text to image", "i2t": "image to text"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column: a protocol, a direction and a key."""

    protocol: str
    direction: Direction
    key: str
    kind: Kind

    @property
    def task(self) -> str:
        """What is measured, in words: `retrieval R@1`, `joint mAP@10`, `patch localisation top-1`."""
        names = {"localisation": "patch localisation", "short": "short-caption retrieval", "other": self.protocol}
        return f"{names.get(self.kind, self.kind)} {self.key}"

    @property
    def way(self) -> str:
        """The direction in words; empty where there is only one."""
        return DIRECTIONS[self.direction] if self.kind in ("retrieval", "short", "joint") else ""

    @property
    def label(self) -> str:
        """Both: `text-to-image retrieval R@1`."""
        return f"{self.way.replace(' ', '-')} {self.task}" if self.way else self.task


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One model's figure: percent, 95 % interval, and with several seeds their sample deviation."""

    value: float
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    seeds: int = 1
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A paired difference `a - b` in percentage points with its 95 % interval."""

    a: str
    b: str
    measure: Measure
    difference: float
    low: float | None = None
    high: float | None = None

    @property
    def sign(self) -> Sign:
        """Where the interval lies: `above` zero, `below`, around it (`open`), or `unknown` where there is none."""
        if self.low is None or self.high is None:
            return "unknown"
        return "above" if self.low > 0 else "below" if self.high < 0 else "open"

    def flipped(self) -> "Contrast":
        """The same comparison seen from the other side."""
        low = None if self.high is None else -self.high
        high = None if self.low is None else -self.low
        return Contrast(a=self.b, b=self.a, measure=self.measure, difference=-self.difference, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows are models, columns measures; a cell is None where a model was not evaluated."""

    models: Sequence[str]
    measures: Sequence[Measure]
    cells: Mapping[tuple[str, Measure], Estimate]

    def cell(self, model: str, measure: Measure) -> Estimate | None:
        return self.cells.get((model, measure))


def kind_of(protocol: str, task: str, key: str) -> Kind:
    """Which of the report's figures a key belongs to: by the result's task, or else by what the names say."""
    if task in RANK and not protocol.startswith("short"):
        return task
    if "locali" in protocol.lower():
        return "localisation"
    if key.startswith("mAP"):
        return "joint"
    if key.startswith("R@"):
        return "short" if protocol.startswith("short") else "retrieval"
    return "other"


def measures(report: ReportInput) -> list[Measure]:
    """Every measure that any model has: by task, then in the order of protocols, directions and keys as given."""
    found: dict[Measure, None] = {}
    for model in report.models:
        for protocol, result in report.results[model].items():
            one = runs(result)[0]
            for direction, key in ((d, key) for d in DIRECTIONS for key in one.get(d) or {}):
                kind = kind_of(protocol, str(one.get("task")), key)
                found[Measure(protocol=protocol, direction=direction, key=key, kind=kind)] = None
    order = {name: i for i, name in enumerate(dict.fromkeys(m.protocol for m in found))}
    return sorted(found, key=lambda m: (RANK[m.kind], order[m.protocol]))


def main_measures(report: ReportInput) -> list[Measure]:
    """The first key of every protocol and direction: the columns of the main table."""
    first: dict[tuple[str, str], Measure] = {}
    for measure in measures(report):
        first.setdefault((measure.protocol, measure.direction), measure)
    return list(first.values())


def numbers_table(report: ReportInput, columns: Sequence[Measure] | None = None) -> Table:
    """The table of a report; by default its main columns."""
    columns = main_measures(report) if columns is None else columns
    cells = {(m, c): e for c in columns for m in report.models if (e := estimate(report.results[m], c)) is not None}
    every = contrasts(report)
    for column in columns:
        best = clear_best({m: cells[m, column].value for m in report.models if (m, column) in cells}, column, every)
        if best:
            cells[best, column] = replace(cells[best, column], best=True)
    return Table(models=report.models, measures=columns, cells=cells)


def estimate(results: Mapping[str, Result | Sequence[Result]], measure: Measure) -> Estimate | None:
    """One model's figure for a measure; over several seeds the mean with Student's interval."""
    every = [r for r in runs(results.get(measure.protocol) or []) if measure.key in (r.get(measure.direction) or {})]
    values = [float(r[measure.direction][measure.key]) for r in every]
    if not values:
        return None
    if len(values) == 1:
        low, high = interval((every[0].get("ci95") or {}).get(measure.direction, {}).get(measure.key))
        return Estimate(value=values[0], low=low, high=high)
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = STUDENT.get(len(values) - 1, 1.96) * deviation / math.sqrt(len(values))
    return Estimate(value=mean, low=mean - half, high=mean + half, deviation=deviation, seeds=len(values))


def contrasts(report: ReportInput) -> list[Contrast]:
    """The paired comparisons as given, each tied to its measure; those of an unknown measure are dropped."""
    every = measures(report)
    found = [_contrast(entry, every) for entry in report.paired]
    return [contrast for contrast in found if contrast is not None]


def against(every: Sequence[Contrast], a: str, b: str) -> dict[Measure, Contrast]:
    """Measure -> `a - b`, whichever way round it was stored."""
    direct = {c.measure: c for c in every if (c.a, c.b) == (a, b)}
    return {c.measure: c.flipped() for c in every if (c.a, c.b) == (b, a)} | direct


def clear_best(values: Mapping[str, float], measure: Measure, every: Sequence[Contrast]) -> str | None:
    """The best model of a column, if its paired intervals say so; None where the lead is not clear."""
    if len(values) < 2:
        return None
    best, runner_up = sorted(values, key=lambda m: values[m], reverse=True)[:2]
    signs = {m: c.sign for m in values if m != best and (c := against(every, best, m).get(measure)) is not None}
    return best if signs.get(runner_up) == "above" and set(signs.values()) == {"above"} else None


def runs(result: Result | Sequence[Result]) -> Sequence[Result]:
    """The eval results of one model and protocol, one per seed."""
    return [result] if isinstance(result, Mapping) else list(result)


def interval(pair: Any) -> tuple[float, float] | tuple[None, None]:
    """`[low, high]` as two floats; two Nones where there is none, or where it is not a number."""
    if pair is None or len(pair) != 2 or any(p is None or math.isnan(float(p)) for p in pair):
        return None, None
    return float(pair[0]), float(pair[1])


def terminal_table(report: ReportInput) -> str:
    """The numbers table as plain text, narrow enough for a terminal: `±` is half the 95 % interval (the report has both
    ends), and `*` marks a best that is clear."""
    table = numbers_table(report)
    head = [["", *(m.task for m in table.measures)], ["", *(m.way for m in table.measures)]]
    body = [[model, *(plain_cell(table.cell(model, m)) for m in table.measures)] for model in table.models]
    rows = [*(head if any(head[1]) else head[:1]), *body]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        f"{r[0]:<{widths[0]}}  " + "  ".join(f"{c:<{w}}" for c, w in zip(r[1:], widths[1:], strict=True)) for r in rows
    ]
    lines.insert(len(rows) - len(body), "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(line.rstrip() for line in lines)


def plain_cell(cell: Estimate | None) -> str:
    """`62.3 ±3.1 *`."""
    if cell is None:
        return "-"
    half = "" if cell.low is None or cell.high is None else f" ±{(cell.high - cell.low) / 2:.1f}"
    return f"{cell.value:.1f}{half}{' *' if cell.best else ''}"


def _contrast(entry: Mapping[str, Any], every: Sequence[Measure]) -> Contrast | None:
    measure = _measure_of(entry, every)
    if measure is None or entry.get("difference") is None or math.isnan(float(entry["difference"])):
        return None
    low, high = interval(entry.get("ci95"))
    return Contrast(
        a=str(entry["a"]), b=str(entry["b"]), measure=measure, difference=float(entry["difference"]), low=low, high=high
    )


def _measure_of(entry: Mapping[str, Any], every: Sequence[Measure]) -> Measure | None:
    """The measure a comparison speaks of: `R@1`, `t2i R@1` or `i2t R@1`, under its protocol where one is named."""
    way, _, rest = str(entry["metric"]).partition(" ")
    direction, key = (way, rest) if way in DIRECTIONS else ("t2i", str(entry["metric"]))
    protocol = entry.get("protocol")
    fits = (m for m in every if (m.key, m.direction) == (key, direction) and protocol in (None, m.protocol))
    return next(fits, None)
