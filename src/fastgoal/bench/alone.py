"""One function in a process of its own, so that its memory is its own.

    python -m fastgoal.bench.alone MODULE:FUNCTION ARGUMENTS

ARGUMENTS are a JSON object of keyword arguments; the function returns a mapping of figures. The last line printed holds
these and `libraries_mib` and `peak_mib`: the most memory that was resident before the function was called, and in all.
"""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from fastgoal.bench import harness


def alone(function: str, **arguments: object) -> dict[str, Any]:
    """The figures of `MODULE:FUNCTION`, called in a process of its own.

    Raises:
        FastgoalError: it failed there.
    """
    return harness.apart("fastgoal.bench.alone", function, json.dumps(arguments, default=str))


def called(function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the process of its own does."""
    module, _, name = function.partition(":")
    work = getattr(import_module(module), name)
    libraries_mib = peak_mib()
    figures = work(**arguments)
    return {**figures, "libraries_mib": libraries_mib, "peak_mib": peak_mib()}


def peak_mib() -> float:
    """The most memory that this process had resident so far; 0 where the system does not tell.

    On Linux not by `getrusage`: that counts the memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return 0.0
    import resource  # not there on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)


if __name__ == "__main__":
    print(json.dumps(called(sys.argv[1], json.loads(sys.argv[2]))))
