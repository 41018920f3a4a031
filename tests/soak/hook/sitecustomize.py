"""Python runs this at its start where this folder is on PYTHONPATH: renaming becomes a counted point, and at one of
them the process is killed.

FASTGOAL_SOAK is JSON: `out`, the folder whose renames count; `log`, a file that gets the name of each; and, to be
killed, `at`, the number of a rename (from 0), and `side`, `before` or `after`. Children of the process are left alone.
"""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

_NAMES = ("replace", "rename")


class Renames:
    """The renames into `out` so far."""

    def __init__(self, *, out: str, log: str, at: int = -1, side: str = "") -> None:
        self._out, self._log, self._at, self._side = os.path.realpath(out), log, at, side
        self._count = 0

    def install(self) -> None:
        for name in _NAMES:
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Callable[..., None]) -> Callable[..., None]:
        def counted(source: Any, target: Any, **options: Any) -> None:
            inside = os.path.realpath(target).startswith(self._out + os.sep) or os.path.realpath(target) == self._out
            if not inside:
                call(source, target, **options)
                return
            number, self._count = self._count, self._count + 1
            self._meet(number, "before")
            call(source, target, **options)
            with open(self._log, "a", encoding="utf-8") as log:  # noqa: PTH123  (no import that Python has not made)
                log.write(os.path.relpath(target, self._out) + "\n")
            self._meet(number, "after")

        return counted

    def _meet(self, number: int, side: str) -> None:
        if (number, side) == (self._at, self._side):
            os.kill(os.getpid(), signal.SIGKILL)


if "FASTGOAL_SOAK" in os.environ:
    Renames(**json.loads(os.environ.pop("FASTGOAL_SOAK"))).install()
