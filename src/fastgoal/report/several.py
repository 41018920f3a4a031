"""Several runs as one report: every model under its own name and its run's, side by side in the same tables.

A model that has the same results in several runs, as the base has, stands there once. Differences are those that each
run measured itself; those between runs need the queries' values, which stay with the runs (`stages.compared` adds
them).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastgoal.errors import ConfigError
from fastgoal.report.input import ReportInput
from fastgoal.report.numbers import runs as seeds_of

Rename = Callable[[str], str]


def together(found: Mapping[str, ReportInput], title: str) -> ReportInput:
    """One report of several.

    Args:
        found: the reports by a short name of their run.

    Raises:
        ConfigError: no report at all.
    """
    if not found:
        raise ConfigError("no run to report on", mend="Name the folder of a finished demo or run.")
    if len(found) == 1:
        return next(iter(found.values()))
    names = renamers(found)
    first, lead = next(iter(found.items()))
    return ReportInput(
        title=title,
        models=list(dict.fromkeys(names[run](m) for run, report in found.items() for m in report.models)),
        results={names[run](m): report.results[m] for run, report in found.items() for m in report.models},
        paired=[_renamed(pair, names[run]) for run, report in found.items() for pair in report.paired],
        histories={names[run](m): rows for run, report in found.items() for m, rows in report.histories.items()},
        commands=[command for report in found.values() for command in report.commands],
        doubts=[*_doubts(found), *(f"{run}: {doubt}" for run, report in found.items() for doubt in report.doubts)],
        stages={f"{stage} ({run})": value for run, report in found.items() for stage, value in report.stages.items()},
        versions=lead.versions,
        hardware="; ".join(dict.fromkeys(report.hardware for report in found.values() if report.hardware)),
        baseline=names[first](lead.baseline),
        headline=names[first](lead.subject) if lead.subject else None,
    )


def renamers(found: Mapping[str, ReportInput]) -> dict[str, Rename]:
    """By run, what its models are called in the report of all: by their own names where every run has them with equal
    figures, else with the name of the first run that has them so."""
    shared = _shared(list(found.values()))
    return {run: _namer(run, found, shared) for run in found}


def _shared(reports: Sequence[ReportInput]) -> frozenset[str]:
    """The models that every report has, with equal figures."""
    first, *others = reports
    return frozenset(
        model
        for model in first.models
        if all(model in other.results and _figures(other, model) == _figures(first, model) for other in others)
    )


def _figures(report: ReportInput, model: str) -> list[Any]:
    """What was measured: not how long it took."""
    every = ((name, one) for name, results in report.results[model].items() for one in seeds_of(results))
    return [(name, one.get("items"), one.get("t2i"), one.get("i2t")) for name, one in every]


def _namer(run: str, found: Mapping[str, ReportInput], shared: frozenset[str]) -> Rename:
    def name(model: str) -> str:
        if model in shared or model not in found[run].results:
            return model
        own = _figures(found[run], model)
        alike = (name for name, other in found.items() if model in other.results and _figures(other, model) == own)
        return f"{model} ({next(alike)})"

    return name


def _renamed(pair: Mapping[str, Any], name: Rename) -> dict[str, Any]:
    return {**pair, "a": name(str(pair["a"])), "b": name(str(pair["b"]))}


def _doubts(found: Mapping[str, ReportInput]) -> list[str]:
    """Figures of different test sets do not belong in one column; the reader has to know."""
    items: dict[str, set[Any]] = {}
    for report in found.values():
        for protocols in report.results.values():
            for name, results in protocols.items():
                items.setdefault(name, set()).update(one.get("items") for one in seeds_of(results))
    differing = [name for name, counts in items.items() if len(counts) > 1]
    if not differing:
        return []
    return [f"The runs were measured on test sets of different sizes ({', '.join(differing)}): compare within a run."]
