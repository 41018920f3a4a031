"""How long answers took lately: the last ones of each kind in a ring, and their quantiles."""

from collections import deque
from dataclasses import dataclass

import numpy as np

KEPT = 1024
"""Answers of a kind that quantiles are taken over."""


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """count: of answers since the start. p50, p95: of the last ones, in milliseconds; None before the first."""

    count: int
    p50: float | None
    p95: float | None


class Latency:
    """The times of one kind of answer, waiting included."""

    def __init__(self) -> None:
        self._count, self._last = 0, deque[float](maxlen=KEPT)

    def add(self, milliseconds: float) -> None:
        """One more answer was given."""
        self._count += 1
        self._last.append(milliseconds)

    def quantiles(self) -> Quantiles:
        if not self._last:
            return Quantiles(count=0, p50=None, p95=None)
        p50, p95 = np.quantile(self._last, [0.5, 0.95]).tolist()
        return Quantiles(count=self._count, p50=p50, p95=p95)
