"""`python -m tests.soak`: kill every command over and over, and print what came of it.

Exit code 0 if nothing was found, 1 if something was.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.soak.commands import commands, make_inputs
from tests.soak.harness import soak
from tests.soak.trial import Tally

DONE = ("kills", "restarts", "signals", "refusals")
FOUND = ("torn", "differences", "leftovers", "manners")
COLUMNS = ("command", *DONE, *FOUND, "stop s", "s")
INPUTS = "inputs"
KINDS = ("torn", "difference", "leftover", "manners")


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    work = Path(asked.work or tempfile.mkdtemp(prefix="soak-")).resolve()
    table = commands(work / INPUTS)
    if unknown := set(asked.commands or ()) - set(table):
        print(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(table)}", file=sys.stderr)
        return 2
    if work.exists() and any(work.iterdir()):
        print(f"{work} is not empty; choose another folder", file=sys.stderr)
        return 2
    make_inputs(work / INPUTS)
    soaking = partial(soak, inputs=work / INPUTS, work=work, seed=asked.seed, kills=asked.kills, only=asked.only or ())
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        tallies = list(pool.map(soaking, asked.commands or table))
    print(shown(tallies))
    if asked.json:
        Path(asked.json).write_text(json.dumps([record(tally) for tally in tallies], indent=2) + "\n")
    found = any(tally.faults for tally in tallies)
    if not (found or asked.work):
        shutil.rmtree(work)
    return int(found)


def parser() -> argparse.ArgumentParser:
    asked = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--commands", nargs="+", help="these alone, such as `match train`")
    asked.add_argument("--kills", type=int, default=12, help="of each command, at least")
    asked.add_argument("--seed", type=int, default=0, help="what befalls them")
    asked.add_argument("--only", nargs="+", help="these trials alone, such as `rename-3 disk-0`")
    asked.add_argument("--jobs", type=int, default=2, help="commands at the same time")
    asked.add_argument("--work", help="an empty or new folder to work in (default: a temporary one)")
    asked.add_argument("--json", help="file for the result")
    return asked


def record(tally: Tally) -> dict[str, object]:
    return asdict(tally) | {kind: tally.count(kind) for kind in KINDS}


def shown(tallies: Sequence[Tally]) -> str:
    """The table, with what was found below it."""
    rows = [COLUMNS, *map(_row, tallies)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    faults = [(tally.command, fault) for tally in tallies for fault in tally.faults]
    return "\n".join([*lines, *(f"{name} {fault.trial}, {fault.kind}: {fault.what}" for name, fault in faults)])


def _row(tally: Tally) -> tuple[str, ...]:
    done = (tally.kills, tally.restarts, tally.signals, tally.refusals)
    return (
        tally.command,
        *map(str, done),
        *(str(tally.count(kind)) for kind in KINDS),
        f"{tally.slowest_stop:.1f}",
        f"{tally.seconds:.0f}",
    )


if __name__ == "__main__":
    sys.exit(main())
