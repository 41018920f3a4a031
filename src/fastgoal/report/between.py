"""What stands between several runs: their figures side by side with paired differences, and the queries on which they
differ most. Values for the page, lines for Markdown, records for JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastgoal.report import words
from fastgoal.report.figures import Thumb
from fastgoal.report.input import Duel, Hit, Picture, ReportInput, RetrievalExample
from fastgoal.report.numbers import Contrast, Measure, Table, against, contrasts, main_measures, numbers_table

CAPTION = 700
NOT_KEPT = "what came first was not kept"
Thumbnail = Callable[[Picture | None], Thumb | None]


def side_by_side(report: ReportInput) -> dict[str, Any] | None:
    """The table of the judged models: a row per figure, the baseline, and per rival its figure and the difference to
    the baseline; None for a report of one run."""
    if not report.rivals:
        return None
    columns = [c for c in main_measures(report) if _has_a_difference(report, c)]
    table = numbers_table(report, columns)
    every = contrasts(report)
    differences = [(a, against(every, a, b)) for a, b in report.rivals]
    return {
        "baseline": report.rivals[0][1],
        "rivals": [a for a, _ in report.rivals],
        "rows": [_row(table, column, report.rivals[0][1], differences) for column in columns],
    }


def _has_a_difference(report: ReportInput, column: Measure) -> bool:
    return any(column in against(contrasts(report), a, b) for a, b in report.rivals)


def _row(
    table: Table, column: Measure, baseline: str, differences: Sequence[tuple[str, Mapping[Measure, Contrast]]]
) -> dict[str, Any]:
    cells = [{"cell": table.cell(a, column), "contrast": found.get(column)} for a, found in differences]
    return {"measure": column, "baseline": table.cell(baseline, column), "cells": cells}


def duels(report: ReportInput, thumb: Thumbnail) -> list[dict[str, Any]]:
    """Every duel as the page draws it."""
    return [
        {
            "duel": duel,
            "groups": [
                {"title": title, "examples": [_example(duel, one, thumb) for one in examples]}
                for title, examples in groups(duel)
            ],
        }
        for duel in report.duels
    ]


def groups(duel: Duel) -> list[tuple[str, Sequence[RetrievalExample]]]:
    """Both directions, each under its title; one without an example is left out."""
    titles = ((f"{duel.a} is ahead", duel.gains), (f"{duel.b} is ahead", duel.losses))
    return [(title, examples) for title, examples in titles if examples]


def summary(duel: Duel) -> str:
    """For how many captions which of the two is better."""
    return (
        f"{duel.a} ranks the caption’s own image better than {duel.b} for {duel.better:,} captions, "
        f"worse for {duel.worse:,}, and alike for {duel.equal:,}."
    )


def _example(duel: Duel, example: RetrievalExample, thumb: Thumbnail) -> dict[str, Any]:
    return {
        "query": words.shorten(example.query, CAPTION, end=True),
        "name": example.name,
        "truth": thumb(example.truth),
        "firsts": [_first(model, example, thumb) for model in (duel.b, duel.a)],
    }


def _first(model: str, example: RetrievalExample, thumb: Thumbnail) -> dict[str, Any]:
    hit = first_of(example, model)
    return {
        "model": model,
        "rank": example.ranks[model],
        "hit": hit,
        "thumb": thumb(hit.image) if hit else None,
        "said": first_in_words(example, model),
    }


def first_of(example: RetrievalExample, model: str) -> Hit | None:
    """What a model put first; None where that was not kept."""
    return next(iter(example.hits.get(model, ())), None)


def first_in_words(example: RetrievalExample, model: str) -> str:
    """`rank 12; first: images/b.jpg`, or `found first`."""
    if example.ranks[model] == 1:
        return "found first"
    hit = first_of(example, model)
    return f"rank {example.ranks[model]:,}; {f'first: {hit.name}' if hit else NOT_KEPT}"


def records(report: ReportInput) -> list[dict[str, Any]]:
    """Every duel as JSON: counts, and the captions that changed most with ranks and what came first."""
    return [
        {
            "a": duel.a,
            "b": duel.b,
            "better": duel.better,
            "worse": duel.worse,
            "equal": duel.equal,
            "gains": [_record(example) for example in duel.gains],
            "losses": [_record(example) for example in duel.losses],
        }
        for duel in report.duels
    ]


def _record(example: RetrievalExample) -> dict[str, Any]:
    firsts = {model: hit.name for model in example.ranks if (hit := first_of(example, model)) is not None}
    return {
        "id": example.id,
        "caption": example.query,
        "image": example.name,
        "ranks": dict(example.ranks),
        "first": firsts,
    }
