"""One trial of a command: a folder in which it is started, disturbed and started again, and what came of it.

The one idea: after each blow every file under its final name must be whole; at the end the output must be that of the
undisturbed reference, with nothing half made beside it. What is not so is a `Fault` that knows what befell the trial.
"""

import random
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.commands import Command
from tests.soak.outcome import age, differences, leftovers, torn
from tests.soak.processes import OUT, At, Ended, Rename, fastgoal_program, run

CONTINUE = "continue with: fastgoal "


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that should not be: `torn`, `difference`, `leftover` or `manners`, in a trial, after what befell it."""

    kind: str
    trial: str
    what: str
    befell: tuple[str, ...]


@dataclass(kw_only=True)
class Tally:
    """What was done to a command, and what was found."""

    command: str
    kills: int = 0
    restarts: int = 0
    signals: int = 0
    refusals: int = 0
    slowest_stop: float = 0.0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)

    def count(self, kind: str) -> int:
        return Counter(fault.kind for fault in self.faults)[kind]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The undisturbed run: its outcome, times (s), renames, and the bytes that it takes up."""

    outcome: Mapping[str, Any]
    seconds: float
    begun: float
    renames: int
    size: int
    largest: int


class Trial:
    """A command in a folder of its own; `befell` tells what was done to it."""

    def __init__(self, command: Command, name: str, folder: Path, tally: Tally, seed: int) -> None:
        self.command, self.name, self.folder, self.tally = command, name, folder, tally
        self.out, self.logs = folder / OUT, folder.with_name(f"{name}.logs")
        self.dice = random.Random(f"{seed}/{command.name}/{name}")
        self.befell: list[str] = []
        self.faults = len(tally.faults)
        self._program = command.start()

    def go(self, blow: At | Rename | None = None, file_limit: int | None = None) -> Ended:
        """Start the command, or start it again."""
        if self.befell:
            self.tally.restarts += 1
            age(self.out)
        at, rename = (blow if isinstance(blow, kind) else None for kind in (At, Rename))
        ended = run(self._program, self.folder, self.logs, at=at, rename=rename, file_limit=file_limit)
        self._program = self.command.restart()
        return ended

    def note(self, blow: object) -> None:
        """What has just befallen it; whatever that was, no file may be torn."""
        self.befell.append(str(blow))
        for line in torn(self.out):
            self.fault("torn", line)

    def fault(self, kind: str, what: str) -> None:
        found = Fault(kind=kind, trial=self.name, what=what, befell=tuple(self.befell))
        self.tally.faults.append(found)
        print(f"FAULT {self.command.name} {self.name}, {kind}: {what}", file=sys.stderr)

    def expect(self, good: bool, what: str) -> None:
        if not good:
            self.fault("manners", what)

    def to_the_end(self, reference: Reference) -> None:
        """Undisturbed from here on; the outcome must be that of the reference."""
        self.finished(self.go(), reference)

    def finished(self, ended: Ended, reference: Reference) -> None:
        if ended.code == 0:
            self.check_end(reference)
        else:
            self.fault("difference", f"it did not end well, but with {ended.code}: {ended.last}")

    def check_end(self, reference: Reference) -> None:
        for line in torn(self.out):
            self.fault("torn", line)
        for line in differences(reference.outcome, self.command.outcome(self.out)):
            self.fault("difference", line)
        for line in leftovers(self.out):
            self.fault("leftover", line)

    def is_done(self, reference: Reference) -> bool:
        """Whether all that the reference has is there."""
        return not torn(self.out) and not differences(reference.outcome, self.command.outcome(self.out))

    def continue_as_told(self, ended: Ended) -> None:
        """What the interrupted command printed is what continues it."""
        printed = ended.last.partition(CONTINUE)[2]
        self.expect(bool(printed), f"no line says how to continue, the last is: {ended.last}")
        self.expect("Traceback" not in ended.errors, f"a traceback was printed: {ended.errors[-2000:]}")
        if printed and self.command.program is fastgoal_program:
            self._program = fastgoal_program(shlex.split(printed))
