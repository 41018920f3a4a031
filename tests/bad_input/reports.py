"""Reports of what is no finished run, or with nothing to compare."""

from pathlib import Path

from tests.bad_input.cases import REFUSED, case, write

GROUP = "reports"
METRICS = '{"models": {"base": {"p": {"items": 1, "t2i": {"R@1": 1.0}}}}}'


@case(GROUP, "a folder that is no run", REFUSED, "Name the folder of a finished")
def _(folder: Path) -> list[str]:
    (folder / "run").mkdir()
    return ["report", "run", "--out", "page"]


@case(GROUP, "no run", REFUSED, "no run to report on")
def _(folder: Path) -> list[str]:
    return ["report", "--out", "page"]


@case(GROUP, "metrics without models", REFUSED, "no 'models' in the metrics")
def _(folder: Path) -> list[str]:
    write(folder / "run" / "metrics.json", "{}")
    return ["report", "run", "--out", "page"]


@case(GROUP, "metrics that are a list", REFUSED, "no 'models' in the metrics")
def _(folder: Path) -> list[str]:
    write(folder / "run" / "metrics.json", "[]")
    return ["report", "run", "--out", "page"]


@case(GROUP, "a run that is to judge itself alone", REFUSED, "no other run to compare with it")
def _(folder: Path) -> list[str]:
    write(folder / "run" / "metrics.json", METRICS)
    return ["report", "run", "--against", "run", "--out", "page"]


@case(GROUP, "a page in the place of a run's own", REFUSED, "would replace a fuller one")
def _(folder: Path) -> list[str]:
    write(folder / "run" / "metrics.json", METRICS)
    return ["report", "run", "--out", "run"]
