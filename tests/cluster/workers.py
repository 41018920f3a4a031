"""What actors of the tests do; in a module of its own, so that they find it."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from fastgoal.errors import DataError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions.fixed import FixedRegions
from fastgoal.regions.region import Region


class Mortal(FixedRegions):
    """The fixed boxes; leaves a trace of its process at each call, and kills it at the first one with a fresh sign."""

    fingerprint = "mortal"

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def propose(self, images: Sequence[Image.Image]) -> list[list[Region]]:
        if self.sign.exists():
            self.sign.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().propose(images)


def mortal_models(sign: Path, device: str) -> tuple[DualEncoder, Mortal]:
    return DualEncoder.load("tiny", device=device), Mortal(sign)


def fixed_models(model: str | Path, device: str) -> tuple[DualEncoder, FixedRegions]:
    return DualEncoder.load(model, device=device), FixedRegions()


def squares() -> Callable[[int], int]:
    return lambda number: number * number


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
