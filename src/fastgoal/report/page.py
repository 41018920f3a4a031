"""Results -> one self-contained HTML page, the same as Markdown, and the metrics.json both were made from.

The page is a template over a context of plain values, which is computed here. Everything that came from a user is
escaped by the template. Thumbnails give way first when the page would grow past its size limit.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from fastgoal.files import make_folder, write_file, write_json
from fastgoal.inline import page_template, svg_rectangle
from fastgoal.report import between, figures, words
from fastgoal.report.input import PairExample, Picture, ReportInput, RetrievalExample
from fastgoal.report.markdown import markdown
from fastgoal.report.numbers import (
    DIRECTIONS,
    Contrast,
    Measure,
    against,
    contrasts,
    estimate,
    main_measures,
    measures,
    numbers_table,
    runs,
)
from fastgoal.report.verdict import WORDS, signed

PAGE_LIMIT = 5_000_000
SIZES = ((360, 82), (300, 76), (224, 70), (160, 62), (96, 55))
EXAMPLES, RETRIEVALS, HITS = 8, 4, 5
CONTEXT = 420


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where a report was written."""

    page: Path
    markdown: Path
    metrics: Path


def render(report: ReportInput, out_dir: Path | str) -> ReportFiles:
    """Write `index.html`, `report.md` and `metrics.json` into `out_dir`, each aside first and then renamed.

    Raises:
        DataError: the disk refuses.
    """
    out = Path(out_dir)
    make_folder(out)
    files = ReportFiles(page=out / "index.html", markdown=out / "report.md", metrics=out / "metrics.json")
    write_json(files.metrics, _finite(metrics(report)))
    write_file(files.markdown, markdown(report))
    write_file(files.page, html(report))
    return files


def html(report: ReportInput, *, limit: int = PAGE_LIMIT) -> str:
    """The page as text; thumbnails shrink until it fits `limit` bytes, or are as small as they get."""
    page, facts = "", _facts(report)
    for edge, quality in SIZES:
        page = _template().render(facts | _pictures(report, edge, quality))
        if len(page.encode()) <= limit:
            break
    return page


def metrics(report: ReportInput) -> dict[str, Any]:
    """The content of metrics.json: `models`, `paired` and `match` by contract, and what `from_metrics` reads back."""
    models = {m: {name: _one(runs(r)) for name, r in report.results[m].items()} for m in report.models}
    kept = (
        "commands",
        "reasons",
        "doubts",
        "versions",
        "hardware",
        "stages",
        "settings",
        "histories",
        "baseline",
        "headline",
        "rivals",
    )
    return {
        "title": report.title,
        "models": models,
        "paired": list(report.paired),
        "match": report.match or {},
        "compared": between.records(report),
        "data": dataclasses.asdict(report.data) if report.data else None,
        **{name: getattr(report, name) for name in kept},
    }


def _one(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One eval result for several seeds: means and intervals over seeds, with the runs beside them."""
    if len(every) == 1:
        return dict(every[0])
    mean: dict[str, Any] = dict(every[0]) | {"ci95": {}, "runs": list(every)}
    for direction in DIRECTIONS:
        keys = every[0].get(direction) or {}
        columns = {k: Measure(protocol="_", direction=direction, key=k, kind="other") for k in keys}
        cells = {k: cell for k, c in columns.items() if (cell := estimate({"_": every}, c)) is not None}
        mean[direction] = {k: cell.value for k, cell in cells.items()}
        mean["ci95"][direction] = {k: [cell.low, cell.high] for k, cell in cells.items()}
    return mean


def _finite(value: Any) -> Any:
    """The same tree without NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _template() -> Template:
    filters: dict[str, Any] = {
        "signed": signed,
        "seconds": words.seconds,
        "shown": words.shown,
        "count": words.count,
        "tied": words.tied,
        "summary": between.summary,
    }
    template = page_template("fastgoal.report", "report.html.j2", filters)
    template.globals["words"] = WORDS  # macros see no other
    return template


def _facts(report: ReportInput) -> dict[str, Any]:
    """Everything the template needs but pictures, in the order of the page."""
    colours = figures.series_of(list(dict.fromkeys([*report.models, *report.histories])))
    return {
        "report": report,
        "colours": colours,
        "dashes": figures.DASHES,
        "verdict": words.verdict_of(report),
        "note": words.verdict_note(report),
        "cards": _cards(report),
        "table": numbers_table(report),
        "every": numbers_table(report, measures(report)),
        "forests": _forests(report),
        "between": between.side_by_side(report),
        "curves": [{**vars(c), "svg": Markup(c.svg)} for c in figures.curves(report.histories, colours)],
        "match": words.match_facts(report.match),
        "skipped": words.skipped_samples(report.match),
        "data": words.data_facts(report.data),
        "protocols": words.protocol_rows(report),
        "glossary": words.glossary(report),
        "seeds": max(len(runs(r)) for m in report.models for r in report.results[m].values()),
    }


def _pictures(report: ReportInput, edge: int, quality: int) -> dict[str, Any]:
    """The examples, with thumbnails of at most `edge` pixels; each picture is read once."""
    thumbs: dict[int | str, figures.Thumb | None] = {}

    def thumb(picture: Picture | None) -> figures.Thumb | None:
        if picture is None:
            return None
        key = str(picture) if isinstance(picture, str | Path) else id(picture)
        if key not in thumbs:
            thumbs[key] = figures.thumbnail(picture, edge=edge, quality=quality)
        return thumbs[key]

    gains, failures = split_retrievals(report)
    return {
        "pairs": [_pair(example, thumb) for example in report.pairs[:EXAMPLES]],
        "duels": between.duels(report, thumb),
        "retrievals": [
            {"title": title, "examples": [_retrieval(report, e, thumb) for e in examples[:RETRIEVALS]]}
            for title, examples in (("Largest gains", gains), ("Worst failures", failures))
            if examples
        ],
    }


def split_retrievals(report: ReportInput) -> tuple[list[RetrievalExample], list[RetrievalExample]]:
    """Queries the method ranks better than its rival, largest gain first; and others it gets wrong, worst first."""
    subject = report.subject
    others = [m for m in (report.baseline, *report.models) if m != subject]

    def ranks(example: RetrievalExample) -> tuple[int, int]:
        own = example.ranks.get(subject or "", min(example.ranks.values(), default=1))
        return own, next((example.ranks[m] for m in others if m in example.ranks), own)

    gains = [e for e in report.retrievals if ranks(e)[0] < ranks(e)[1]]
    failures = [e for e in report.retrievals if ranks(e)[0] >= ranks(e)[1] and ranks(e)[0] > 1]
    gains.sort(key=lambda e: (ranks(e)[0] - ranks(e)[1], ranks(e)[0]))
    failures.sort(key=lambda e: (ranks(e)[1] - ranks(e)[0], -ranks(e)[0]))
    return gains, failures


def _cards(report: ReportInput) -> list[dict[str, Any]]:
    """One card per task: every model on one scale, and what the paired interval says about the method."""
    columns = [m for m in main_measures(report) if m.direction == "t2i" and m.kind != "other"]
    table = numbers_table(report, columns)
    every = contrasts(report)
    rivals = [(a, b, against(every, a or "", b)) for a, b in report.questions]
    cards = []
    for column in columns:
        cells = {m: c for m in table.models if (c := table.cell(m, column))}
        top = min(100.0, 1.1 * max(c.value if c.high is None else c.high for c in cells.values())) or 100.0
        rows = [{"model": m, "cell": c, **_strip(c.value, c.low, c.high, 0.0, top)} for m, c in cells.items()]
        chance = _chance(report, column)
        mark = None if chance is None else _at(chance, 0.0, top)
        says = [{"a": a, "b": b, "contrast": found[column]} for a, b, found in rivals if column in found]
        cards.append({"measure": column, "rows": rows, "says": says, "chance": chance, "mark": mark})
    return cards


def _chance(report: ReportInput, measure: Measure) -> float | None:
    """What a guess would reach, in percent, where the evaluation says so."""
    every = (
        runs(report.results[m][measure.protocol])[0] for m in report.models if measure.protocol in report.results[m]
    )
    found = (result.get("chance", {}).get(measure.key) for result in every)
    return next((float(value) for value in found if value is not None), None)


def _forests(report: ReportInput) -> list[dict[str, Any]]:
    """Paired differences by the model they are taken against; the baseline first, since that is the question."""
    every = [c.flipped() if _backwards(c, report) else c for c in contrasts(report)]
    place = {model: i for i, model in enumerate(report.models)}
    rivals = sorted({c.b for c in every}, key=lambda b: (b != report.baseline, place.get(b, len(place)), b))
    return [_forest(rival, [c for c in every if c.b == rival]) for rival in rivals]


def _backwards(contrast: Contrast, report: ReportInput) -> bool:
    order = {m: i for i, m in enumerate(report.models)}
    return contrast.a != report.subject and order.get(contrast.a, 0) < order.get(contrast.b, 0)


def _forest(rival: str, rows: Sequence[Contrast]) -> dict[str, Any]:
    ends = [0.0, *(v for c in rows for v in (c.difference, c.low, c.high) if v is not None)]
    span = max(max(ends) - min(ends), 1.0)
    low, high = min(ends) - 0.06 * span, max(ends) + 0.06 * span
    marks = [{"value": t, "at": _at(t, low, high)} for t in figures.ticks(low, high, 5)]
    groups: dict[Measure, list[dict[str, Any]]] = {}
    for c in rows:
        strip = _strip(c.difference, c.low, c.high, low, high)
        groups.setdefault(c.measure, []).append({"contrast": c, **strip})
    return {"rival": rival, "groups": groups, "ticks": marks, "zero": _at(0.0, low, high)}


def _strip(value: float, low: float | None, high: float | None, start: float, end: float) -> dict[str, float | None]:
    """Where a dot and its interval lie on a strip, in percent of its width."""
    return {
        "at": _at(value, start, end),
        "from": None if low is None else _at(low, start, end),
        "to": None if high is None else _at(high, start, end),
    }


def _at(value: float, start: float, end: float) -> float:
    return round(100 * min(max((value - start) / (end - start), 0.0), 1.0), 2) if end > start else 0.0


def _pair(example: PairExample, thumb: Any) -> dict[str, Any]:
    picture = thumb(example.image)
    start, end = example.sentence
    size = (picture.width, picture.height) if picture else (1, 1)
    return {
        "example": example,
        "thumb": picture,
        "region": svg_rectangle(example.region, *size),
        "truth": svg_rectangle(example.truth, *size) if example.truth else None,
        "before": words.shorten(example.caption[:start], CONTEXT, end=False),
        "sentence": example.caption[start:end],
        "after": words.shorten(example.caption[end:], CONTEXT, end=True),
    }


def _retrieval(report: ReportInput, example: RetrievalExample, thumb: Any) -> dict[str, Any]:
    shown = [m for m in report.models if m in example.ranks] or list(example.ranks)
    rows = [
        {
            "model": model,
            "rank": example.ranks[model],
            "hits": [{"hit": h, "thumb": thumb(h.image)} for h in list(example.hits.get(model, ()))[:HITS]],
        }
        for model in shown
    ]
    return {"query": words.shorten(example.query, 2 * CONTEXT, end=True), "truth": thumb(example.truth), "rows": rows}
