"""`fastgoal report`."""

from pathlib import Path

from fastgoal.cli.common import read_metrics
from fastgoal.errors import ConfigError
from fastgoal.report import from_metrics, render, terminal_table


def report(run: Path, /, *, out: Path) -> None:
    """Make the report page again from a finished demo or run, without its pictures.

    Example: `fastgoal report demo --out demo-report`

    Args:
        run: folder of a finished `demo` or `run`, with its `metrics.json`.
        out: folder of the page.
    """
    if out.resolve() == run.resolve():
        what = "the pictures are not in metrics.json, so a page made from it would replace a fuller one"
        raise ConfigError(what, where="--out", mend="Choose another folder.")
    found = from_metrics(read_metrics(run))
    files = render(found, out)
    print(terminal_table(found))
    print(f"report: {files.page}")
