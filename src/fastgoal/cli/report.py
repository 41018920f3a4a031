"""`fastgoal report`."""

from pathlib import Path

from fastgoal.cli.common import Json, read_metrics, write_result
from fastgoal.errors import ConfigError
from fastgoal.report import from_metrics, metrics, render, terminal_table, together


def report(*runs: Path, out: Path, json: Json = None) -> None:
    """Make one report page from one or several finished demos and runs, without their pictures.

    Several runs stand side by side, each model under its own name and its run's.

    Example: `fastgoal report my-run demo-quick --out both`

    Args:
        runs: folders of finished `demo`s or `run`s, each with its `metrics.json`.
        out: folder of the page.
    """
    if out.resolve() in [run.resolve() for run in runs]:
        what = "the pictures are not in metrics.json, so a page made from it would replace a fuller one"
        raise ConfigError(what, where="--out", mend="Choose another folder.")
    names = [run.resolve().name for run in runs]
    keys = [str(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
    found = together(
        {key: from_metrics(read_metrics(run)) for key, run in zip(keys, runs, strict=True)}, " and ".join(keys)
    )
    files = render(found, out)
    print(terminal_table(found))
    print(f"report: {files.page}")
    write_result(json, metrics(found))
