"""Work with numbers, for tests of the flow; imports little, so that actors begin soon."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fastgoal.errors import DataError


def squares() -> Callable[[int], int]:
    return lambda number: number * number


class Together:
    """Squares, by workers that begin only when there are two of them."""

    def __init__(self, folder: Path) -> None:
        (folder / str(os.getpid())).touch()
        end = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.02)

    def __call__(self, number: int) -> int:
        return number * number


def slow_first() -> Callable[[int], int]:
    def work(number: int) -> int:
        time.sleep(0.0 if number else 1.5)
        return number

    return work


def refusing_at_five() -> Callable[[int], int]:
    def work(number: int) -> int:
        if number == 5:
            raise DataError("number 5 is no good", where="numbers", mend="Leave it out.")
        return number

    return work


def deadly_at_two() -> Callable[[int], int]:
    def work(number: int) -> int:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return work
