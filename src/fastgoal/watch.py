"""Waits that say so when they last.

A step that waits, for a batch or for another process, looks like one that hangs. `told_if_long` goes around such a
wait and says what is waited for once it has lasted a minute, and again after twice, four times, ... as long; of a
shorter wait it says nothing. One thread watches over all waits of the process. It sleeps until the earliest of them is
due and is woken for none that is due later, so that a wait costs microseconds and may stand around every step.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

AFTER = 60.0
"""Seconds of patience."""
Say = Callable[[str], None]


def said_aloud(line: str) -> None:
    """The line on standard error; one that is closed is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        tqdm.write(line, file=sys.stderr)  # beside a bar, if there is one


@dataclass(kw_only=True)
class _Wait:
    what: str
    detail: Callable[[], str] | None
    say: Say
    began: float
    every: float
    due: float

    def tell(self, now: float) -> None:
        """Say it, and be silent for as long again."""
        self.every *= 2
        self.due = self.began + self.every
        detail = self.detail() if self.detail else ""
        self.say(f"{self.what} for {now - self.began:.0f} s{detail and f' ({detail})'}")


class Watch:
    """Waits under way, and the thread that tells of them; it starts with the first. clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._waits = clock, list[_Wait]()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asleep_until = float("inf")

    @contextmanager
    def told_if_long(
        self, what: str, *, after: float = AFTER, detail: Callable[[], str] | None = None, say: Say = said_aloud
    ) -> Iterator[None]:
        """Around a wait: `say` is given "WHAT for 60 s (DETAIL)" when it has lasted `after` seconds, and at every
        doubling of that; never once it is over.

        Args:
            what: "waiting for ...". detail: what is known of it, asked for when it is said.
            say: called by another thread, which holds up the end of the wait; it must not raise.
        """
        now = self._clock()
        wait = _Wait(what=what, detail=detail, say=say, began=now, every=after, due=now + after)
        with self._changed:
            self._waits.append(wait)
            if self._thread is None or not self._thread.is_alive():  # a forked child has no thread
                self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
                self._thread.start()
            elif wait.due < self._asleep_until:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._waits.remove(wait)

    def look(self) -> float | None:
        """Tell of the waits that are due; the seconds until the next one is (None: there is none)."""
        with self._changed:
            now = self._clock()
            for wait in self._waits:
                if wait.due <= now:
                    wait.tell(now)
            self._asleep_until = min((wait.due for wait in self._waits), default=float("inf"))
            return None if not self._waits else max(0.0, self._asleep_until - now)

    def _watch(self) -> None:
        with self._changed:
            while True:
                self._changed.wait(self.look())


told_if_long = Watch().told_if_long
"""The one watch of this process."""
