"""Findings: troubles of one kind, counted, the first few with their place and mend."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fastgoal.errors import FastgoalError

NAMED = 20
"""Troubles of one kind that are kept as examples; the rest is counted."""
Weight = Literal["left out", "mended", "look"]
"""What a trouble costs: its sample is left out of training; `--fix` mends it; a person should have a look."""
_ASIDE = re.compile(r"\s*\([^()]*\)")
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\d[\d.,]*")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Troubles of one kind.

    kind: what they have in common, in words. count: how many there are. examples: the first of them.
    """

    kind: str
    weight: Weight
    count: int
    examples: tuple[FastgoalError, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        examples = [{"where": error.where, "what": error.what, "mend": error.mend} for error in self.examples]
        return {"kind": self.kind, "weight": self.weight, "count": self.count, "examples": examples}


class Tally:
    """Counts troubles by kind, in the order in which the kinds first occurred."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Weight, str], int] = {}
        self._examples: dict[tuple[Weight, str], list[FastgoalError]] = {}

    def add(self, weight: Weight, error: FastgoalError, kind: str | None = None) -> None:
        """Count one trouble; its kind is, unless given, what is wrong without its particulars."""
        key = weight, kind or kind_of(error.what)
        self._counts[key] = self._counts.get(key, 0) + 1
        examples = self._examples.setdefault(key, [])
        if len(examples) < NAMED:
            examples.append(error)

    def findings(self) -> tuple[Finding, ...]:
        """What was counted."""
        return tuple(
            Finding(weight=weight, kind=kind, count=count, examples=tuple(self._examples[weight, kind]))
            for (weight, kind), count in self._counts.items()
        )


def finding(weight: Weight, kind: str, count: int, examples: Iterable[FastgoalError]) -> tuple[Finding, ...]:
    """One finding that was counted elsewhere, or none where nothing was found."""
    return (Finding(weight=weight, kind=kind, count=count, examples=tuple(examples)),) * bool(count)


def kind_of(what: str) -> str:
    """What is wrong, with dots for the names and numbers that differ from case to case."""
    return _PARTICULARS.sub("...", _ASIDE.sub("", what))
