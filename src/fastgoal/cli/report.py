"""`fastgoal report`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fastgoal.cli.common import Json, Root, read_metrics, write_result
from fastgoal.errors import ConfigError
from fastgoal.report import from_metrics, metrics, render, terminal_table
from fastgoal.report.between import summary
from fastgoal.stages.compared import Finished, compared


def report(
    *runs: Path,
    out: Path,
    against: Annotated[
        Path | None, Parameter(help="The run that the others are judged by (default: the first one).")
    ] = None,
    root: Root = None,
    json: Json = None,
) -> None:
    """Make one report page from one or several finished demos and runs.

    Several runs stand side by side, each model under its own name and its run's: their figures with paired intervals,
    and the captions on which they differ most, with the pictures. The pictures of a single run are in its own report.

    Example: `fastgoal report my-run demo-quick --out both`

    Args:
        runs: folders of finished `demo`s or `run`s, each with its `metrics.json`.
        out: folder of the page.
    """
    if out.resolve() in [run.resolve() for run in (*runs, *([against] if against else []))]:
        what = "the pictures are not in metrics.json, so a page made from it would replace a fuller one"
        raise ConfigError(what, where="--out", mend="Choose another folder.")
    folders = _ordered(runs, against)
    names = [folder.resolve().name for folder in folders]
    keys = [str(folder) if names.count(name) > 1 else name for folder, name in zip(folders, names, strict=True)]
    finished = [
        Finished(name=key, folder=folder, report=from_metrics(read_metrics(folder)), root=root)
        for key, folder in zip(keys, folders, strict=True)
    ]
    found = compared(finished, " and ".join(keys))
    files = render(found, out)
    print(terminal_table(found))
    for duel in found.duels:
        print(summary(duel))
    if len(finished) > 1:
        for doubt in found.doubts:
            print(f"doubtful: {doubt}", file=sys.stderr)
    print(f"report: {files.page}")
    write_result(json, metrics(found))


def _ordered(runs: tuple[Path, ...], against: Path | None) -> list[Path]:
    """The runs, each once, the one that judges first.

    Raises:
        ConfigError: no run, or nothing to compare.
    """
    every = list({run.resolve(): run for run in ((against, *runs) if against else runs)}.values())
    if against and len(every) < 2:
        raise ConfigError("no other run to compare with it", where="--against", mend="Name another finished run.")
    return every
