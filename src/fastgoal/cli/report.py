"""`fastgoal report`."""

from pathlib import Path

from fastgoal.cli.common import read_metrics
from fastgoal.report import from_metrics, render, terminal_table


def report(run: Path, /, *, out: Path) -> None:
    """Make the report page again from a finished demo or run.

    Example: `fastgoal report demo --out demo-report`

    Args:
        run: folder of a finished `demo` or `run`, with its `metrics.json`.
        out: folder of the page.
    """
    found = from_metrics(read_metrics(run))
    files = render(found, out)
    print(terminal_table(found))
    print(f"report: {files.page}")
