"""Several processes at the same work, kept at it until a signal comes.

Each is started anew (spawned), as neither LanceDB nor torch outlives a fork. One that dies is replaced; one that says
that it cannot start ends all, for the others cannot either.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from fastgoal.interrupts import SIGNALS

CANNOT_START = 3
"""Exit code of a worker that cannot start."""
_BREATH = 1.0
"""Seconds before a dead worker is replaced, so that one that dies at once does not keep the machine busy."""


def keep_working(count: int, work: Callable[[], None]) -> bool:
    """Run `work` in so many processes until this one is sent SIGTERM or SIGINT; they are sent SIGTERM then, and waited
    for.

    Args:
        work: to be pickled.

    Returns: False where a worker could not start.
    """
    running: list[SpawnProcess] = []
    with _woken() as signalled:
        try:
            running += [_start(work) for _ in range(count)]
            while signalled not in wait([signalled, *(worker.sentinel for worker in running)]):
                dead = [worker for worker in running if not worker.is_alive()]
                if any(worker.exitcode == CANNOT_START for worker in dead):
                    return False
                for worker in dead:
                    _replace(running, worker, work)
        finally:
            for worker in running:
                worker.terminate()
            for worker in running:
                worker.join()
    return True


def _start(work: Callable[[], None]) -> SpawnProcess:
    worker = get_context("spawn").Process(target=work)
    worker.start()
    return worker


def end_with_parent() -> None:
    """For a worker: it is sent SIGTERM too when the process that started it is gone, killed without a chance to say
    so. Else it would serve on, and hold the port."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent.sentinel,), daemon=True).start()


def _outlive(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _replace(running: list[SpawnProcess], dead: SpawnProcess, work: Callable[[], None]) -> None:
    print(f"fastgoal: worker {dead.pid} died (exit code {dead.exitcode}); another takes its place", file=sys.stderr)
    time.sleep(_BREATH)
    running[running.index(dead)] = _start(work)


@contextmanager
def _woken() -> Iterator[int]:
    """A file that can be read once a signal has come; to be used in the main thread."""
    reader, writer = os.pipe()
    before = {number: signal.signal(number, lambda *_: _ring(writer)) for number in SIGNALS}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _ring(writer: int) -> None:
    os.write(writer, b"!")
