"""Random choices that come out the same on every machine and Python version.

Python promises that `random.Random(str).random()` never changes its sequence; its other methods carry no such promise,
so every choice here is made from that one.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A stream of choices named by `key`: the same key gives the same choices."""

    def __init__(self, *key: object) -> None:
        self._random = random.Random("/".join(map(str, key))).random

    def below(self, n: int) -> int:
        """An integer in `0..n-1`."""
        return int(self._random() * n)

    def between(self, low: int, high: int) -> int:
        """An integer in `low..high`, both included."""
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        return self._random() < share

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A new list in random order (Fisher-Yates)."""
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = self.below(i + 1)
            out[i], out[j] = out[j], out[i]
        return out
