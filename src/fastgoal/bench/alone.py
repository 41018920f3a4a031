"""One function in a process of its own, so that its memory is its own.

    python -m fastgoal.bench.alone MODULE:FUNCTION ARGUMENTS

ARGUMENTS are a JSON object of keyword arguments; the function returns a mapping of figures. The last line printed holds
these and `libraries_mib` and `peak_mib`: the most memory that was resident before the function was called, and in all.
"""

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from fastgoal.bench import harness
from fastgoal.devices import peak_memory


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
    libraries_mib = peak_memory()
    figures = work(**arguments)
    return {**figures, "libraries_mib": libraries_mib, "peak_mib": peak_memory()}


if __name__ == "__main__":
    print(json.dumps(called(sys.argv[1], json.loads(sys.argv[2]))))
