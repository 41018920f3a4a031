"""How two ways of doing the same are compared: in alternation, in one process, by the ratios of neighbouring runs.

A machine that others use as well is twice as slow from one minute to the next. Each round runs every side once, so that
a slow minute hits all of them, and the ratio of a round is worth more than the time of a run. Memory is what one side
needs in a process of its own.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fastgoal.errors import FastgoalError

PACKAGES = ("fastgoal", "torch", "transformers", "numpy", "pillow")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of the rounds' ratios."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median=statistics.median(values), min=min(values), max=max(values))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    ours, reference, bound: in `unit`, medians over the rounds; `bound` is what the hardware or the arithmetic allows,
    as `bound_is` says. ratio: ours / reference, so of rates the more the better, of MiB the less. aim: what the ratio
    (or the share of the bound, where there is no reference) is meant to be, such as `>= 2.3`.
    """

    name: str
    unit: str
    ours: float
    reference: float | None = None
    ratio: Spread | None = None
    bound: float | None = None
    bound_is: str = ""
    aim: str = ""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a benchmark found, and on what."""

    rows: tuple[Row, ...]
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]

    @classmethod
    def of(cls, rows: Sequence[Row], device: torch.device | str = "cpu") -> "Bench":
        return cls(rows=tuple(rows), hardware=hardware(torch.device(device)), versions=versions())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def alternate(
    sides: Mapping[str, Callable[[], object]], rounds: int, *, warm: bool = True, device: torch.device | str = "cpu"
) -> dict[str, list[float]]:
    """Seconds that each side took, round by round; every other round runs them in the opposite order.

    Args:
        warm: run every side once before, unmeasured (first calls allocate, build plans and fill caches).
        device: waited for at the end of each run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1 if warm else 0, rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            took = timed(sides[name], device)
            if number >= 0:
                seconds[name].append(took)
    return seconds


def timed(work: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Seconds until the work, and what it put on the device, is done."""
    begin = time.perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def rates(
    name: str,
    unit: str,
    items: float,
    seconds: Mapping[str, Sequence[float]],
    *,
    bound: float | None = None,
    bound_is: str = "",
    aim: str = "",
) -> Row:
    """A row of `items` per second, from the seconds of the sides `ours` and, where measured, `reference` and `bound`.

    bound: given in `unit`, where it was not measured as a side.
    """
    of = {side: [items / took for took in rounds] for side, rounds in seconds.items()}
    other = of.get("reference")
    return Row(
        name=name,
        unit=unit,
        ours=statistics.median(of["ours"]),
        reference=statistics.median(other) if other else None,
        ratio=Spread.of([a / b for a, b in zip(of["ours"], other, strict=True)]) if other else None,
        bound=statistics.median(of["bound"]) if "bound" in of else bound,
        bound_is=bound_is,
        aim=aim,
    )


def memory(name: str, ours: float, reference: float | None = None, *, aim: str = "") -> Row:
    """A row of MiB at most."""
    ratio = None if reference is None else Spread.of([ours / reference])
    return Row(name=name, unit="MiB", ours=ours, reference=reference, ratio=ratio, aim=aim)


def apart(module: str, *arguments: object) -> dict[str, Any]:
    """Run `python -m MODULE ARGUMENTS` and read the JSON object on the last line of what it prints.

    For what has to be measured in a process of its own: its memory, or its start.

    Raises:
        FastgoalError: it failed.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        killed = f"killed by signal {-done.returncode}; was there enough memory?"
        last = killed if done.returncode < 0 else (done.stderr.strip() or "no message").splitlines()[-1]
        raise FastgoalError(f"a part of the benchmark failed: {last}", where=" ".join(command[1:]))
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def hardware(device: torch.device) -> dict[str, Any]:
    """Processor, cores, threads, memory and GPU."""
    facts: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if hasattr(os, "sysconf"):
        facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["gpu_memory_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
    return facts


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python and the packages that decide speed."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def describe(bench: Bench) -> str:
    """Rows as a Markdown table under a line about the machine, so that it can be read and kept."""
    facts = ", ".join(f"{name} {value}" for name, value in {**bench.hardware, **bench.versions}.items())
    lines = [facts, "", "| | unit | ours | reference | ratio | bound | aim |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, bench.rows)])


def _line(row: Row) -> str:
    ratio = f"{row.ratio.median:.2f} [{row.ratio.min:.2f}, {row.ratio.max:.2f}]" if row.ratio else ""
    bound = f"{_number(row.bound)}: {row.bound_is} ({row.ours / row.bound:.2f} of it)" if row.bound else row.bound_is
    reference = _number(row.reference) if row.reference is not None else ""
    return f"| {row.name} | {row.unit} | {_number(row.ours)} | {reference} | {ratio} | {bound} | {row.aim} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
