"""SIGINT and SIGTERM as one exception, at once or when the block that they hit has ended.

Python makes an exception of SIGINT alone, but schedulers, containers and `kill` send SIGTERM. The first signal stops
the work in order; a second one ends the process at once, as a file is whole or absent at any moment. Where torch's
launchers started the process, further ones are ignored: they send each signal several times, and kill what has not
ended half a minute later.

Not all code that a signal hits lets the exception pass. An import may make another error of it: what leaves the block
is `Interrupted` all the same. Python drops what is raised while it clears up an object: the signal is then sent once
more.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.resource_tracker import ensure_running
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = 0.05
"""Seconds until a signal whose exception was dropped is sent once more: by then Python is elsewhere."""


class Interrupted(KeyboardInterrupt):
    """A signal came. `code` is the exit code by which shells know it: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Interrupts:
    """Inside its `with` block the first signal raises `Interrupted`: where it hits, or if `patient`, at the end.

    came: the signal's number, once there was one, for a patient block that wants to end early.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.came: int | None = None
        self._patient = patient
        self._raised = False
        self._before: dict[int, Any] = {}
        self._again: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python lets no other set handlers
            heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._take) for number in heard}
            self._hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._again is not None:
            self._again.cancel()
        if sys.unraisablehook == self._dropped:
            sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            after_all = signal.SIG_IGN if self.came is not None and _launched() else handler
            signal.signal(number, after_all or signal.SIG_DFL)
        if self.came is not None and not isinstance(error, Interrupted) and (kind is None or self._raised):
            raise Interrupted(self.came) from error

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A part of a patient block that may be left anywhere.

        Raises:
            Interrupted: a signal came, before or inside.
        """
        if self.came is not None:
            raise Interrupted(self.came)
        before, self._patient = self._patient, False
        try:
            yield
        finally:
            self._patient = before

    def _take(self, number: int, frame: FrameType | None) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_IGN if _launched() else signal.SIG_DFL)
        self.came = number
        if not self._patient:
            self._raised = True
            raise Interrupted(number)

    def _dropped(self, lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, Interrupted):
            self._hook(lost)
            return
        for each in self._before:
            signal.signal(each, self._take)
        self._again = threading.Timer(_AGAIN, os.kill, (os.getpid(), lost.exc_value.code - 128))
        self._again.daemon = True
        self._again.start()


@contextmanager
def leaving(word: str) -> Iterator[None]:
    """Inside its block a signal ends the process at once, with a word on standard error.

    For imports: there is nothing to put in order yet, and an exception in the middle of one makes torch abort.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{word}\n".encode())
        os._exit(128 + number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, leave) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _launched() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def ignore_interrupts(*_: object) -> None:
    """For worker processes, which a terminal interrupts with their parent: it tells them when to end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def hold_interrupts() -> None:
    """For a thread that is about to start worker processes: they inherit that it hears no signals, so that none ends
    them before they have come to `ignore_interrupts`. The process itself goes on hearing them in its main thread."""
    if hasattr(signal, "pthread_sigmask"):  # not there on Windows
        ensure_running()  # the first process of all is this one's, and to start it lets signals through again
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
