"""Samples whose image cannot be read while training: left out of their batch, counted and named.

One broken file among millions must not end a run of days, and a wrong folder must not pass for training: it goes on
while most images can be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastgoal.errors import DataError

NAMED = 20
"""Samples that are named."""
MOST = 0.5
"""Share of the samples looked at that may be left out ..."""
LEAST = 16
"""... once so many were looked at; until then any number but all, where all is more than one: a rank may have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A sample, and why its image cannot be read."""

    id: str
    what: str
    where: str
    mend: str

    @classmethod
    def of(cls, sample: str, error: DataError) -> "LeftOut":
        return cls(id=sample, what=error.what, where=error.where or "", mend=error.mend or "")

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "where": self.where, "reason": self.what}


@dataclass
class Count:
    """How often a sample was left out, and the first ones."""

    times: int = 0
    first: dict[str, LeftOut] = field(default_factory=dict)

    def add(self, left_out: Sequence[LeftOut], seen: int) -> None:
        """Count those of a batch. seen: samples so far whose image could be read.

        Raises:
            DataError: too many are left out.
        """
        for one in left_out:
            self.times += 1
            if len(self.first) < NAMED:
                self.first.setdefault(one.id, one)
        looked_at = self.times + seen
        if left_out and self.times > MOST * looked_at and (looked_at >= LEAST or (not seen and self.times > 1)):
            one = next(iter(self.first.values()))
            what = f"{self.times} of {looked_at} images cannot be read (first: sample {one.id!r}: {one.what})"
            raise DataError(what, where=one.where, mend=one.mend)


def merged(counts: Sequence[Count]) -> Count:
    """Of several processes as one."""
    first = {name: one for count in counts for name, one in count.first.items()}
    return Count(times=sum(count.times for count in counts), first=dict(list(first.items())[:NAMED]))


def told(count: Count) -> str:
    """What a person is told of them, once."""
    shown = ", ".join(f"{one.id!r} ({one.what})" for one in list(count.first.values())[:3])
    more = ", ..." if len(count.first) > 3 else ""
    return f"left out: images that cannot be read, of samples {shown}{more}; train.json counts and names them"
