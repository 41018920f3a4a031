"""What a person sees of long work: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

EVERY = 15.0
"""Seconds between plain lines, so that a log file stays readable; shorter work says nothing there."""


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar that may be left half made: a signal that comes while it begins would have its end complain."""

    disable = True


class Progress:
    """Counts items of long work on standard error. Use as a context manager, so that an error's message stands on its
    own line.

    Args:
        total: items in all. label: what is done. unit: what is counted. done: items finished before.
        show: False says nothing.
    """

    def __init__(self, total: int, label: str, unit: str, *, done: int = 0, show: bool = True) -> None:
        self._total, self._label, self._unit, self._done = total, label, unit, done
        self._before = done
        self._told: int | None = None
        self._begin = self._said = time.monotonic()
        self._plain = show and not sys.stderr.isatty()
        self._bar = Bar(
            total=total, initial=done, desc=label, unit=unit, dynamic_ncols=True, disable=not show or self._plain
        )

    def update(self, count: int = 1) -> None:
        """`count` more items are finished."""
        self._bar.update(count)
        self._done += count
        if self._plain and (time.monotonic() - self._said >= EVERY):
            self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self._told is not None and self._done > self._told:
            self._say()

    def _say(self) -> None:
        self._said, self._told = time.monotonic(), self._done
        rate = (self._done - self._before) / max(self._said - self._begin, 1e-9)
        left = tqdm.format_interval((self._total - self._done) / max(rate, 1e-9))
        line = f"{self._label}: {self._done:,}/{self._total:,} {self._unit}s, {rate:.1f} {self._unit}s/s, {left} left"
        print(line, file=sys.stderr, flush=True)
