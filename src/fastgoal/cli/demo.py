"""`fastgoal demo`."""

from pathlib import Path

from fastgoal.cli.common import Json, quiet_libraries, typed, write_result
from fastgoal.demo import demo as tell
from fastgoal.demo import full as full_size
from fastgoal.demo import normal
from fastgoal.demo import quick as quick_size
from fastgoal.errors import ConfigError
from fastgoal.report import metrics, terminal_table


def demo(*, out: Path | None = None, quick: bool = False, full: bool = False, json: Json = None) -> None:
    """The whole story on built-in data, offline: scenes, matching, fine-tuning, evaluation, report.

    Trains the bundled model `tiny` with and without local pairs on drawn scenes, and writes a page that shows what
    changed. Takes some minutes on two cores. Interrupted, the same command continues.

    Example: `fastgoal demo --quick --out demo-quick`

    Args:
        out: folder for everything (default: demo, demo-quick or demo-full).
        quick: a smoke of every stage in under a minute; its figures mean nothing.
        full: all four methods with three seeds each, two of them also with true pairs, and what goes beyond the papers:
            hard negatives, a gentle token similarity loss, blends (more than an hour on two cores).
    """
    if quick and full:
        raise ConfigError("both --quick and --full", mend="Choose one of them.")
    quiet_libraries()
    size = quick_size() if quick else full_size() if full else normal()
    name = "demo-quick" if quick else "demo-full" if full else "demo"
    found, files = tell(out or Path(name), size, command=typed())
    print(terminal_table(found))
    print(f"report: {files.page}")
    write_result(json, metrics(found))
