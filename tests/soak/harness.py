"""One command killed over and over, and what came of it.

    reference: the command undisturbed
    trial:     the same in a folder of its own, killed, signalled or out of disk space, and started again until done

The one idea: a trial's name with the seed decides what befalls it, so that any of them can be had again by itself.
"""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.soak.commands import Command, commands
from tests.soak.disk import leave, make_room, pages, small_disk
from tests.soak.processes import OUT, At, Ended, Rename, run
from tests.soak.trial import Fault, Reference, Tally, Trial

CHAIN = 3
"""Kills of one trial, at most; then it may end."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOPPED_WITHIN = 10.0
AWAKE = 0.8
"""Seconds after which Python has started and fastgoal hears signals."""


class Soak:
    """All trials of one command.

    Args:
        work: gets a folder per trial; those of trials without a fault are deleted.
        seed: with a trial's name, it decides what befalls the trial.
    """

    def __init__(self, command: Command, work: Path, seed: int) -> None:
        self.command, self.work, self.seed = command, work / command.name, seed
        self.tally = Tally(command=command.name)
        self.reference = self._undisturbed()
        self.tally.seconds = self.reference.seconds

    def everything(self, kills: int) -> Tally:
        """Kills until there were so many, and then four signals and two full disks."""
        self.until(("kill", "rename"), 2 * kills, lambda: self.tally.kills >= kills)
        self.until(("signal",), 24, lambda: self.tally.signals >= 4)
        self.until(("disk",), 8, lambda: self.tally.refusals >= 2)
        return self.tally

    def one(self, name: str) -> None:
        """One trial by its name, such as `rename-3`."""
        kind, _, number = name.partition("-")
        kinds = {"kill": self._killed, "rename": self._renamed, "signal": self._signalled, "disk": self._filled}
        trial = Trial(self.command, name, self.work / name, self.tally, self.seed)
        begin = time.perf_counter()
        kinds[kind](trial, int(number))
        self.tally.seconds += time.perf_counter() - begin
        self._leave(trial)

    def until(self, kinds: tuple[str, ...], most: int, enough: Callable[[], bool]) -> None:
        """Trials of these kinds until there were enough, or so many of each."""
        for number in range(most):
            for kind in kinds:
                if enough():
                    return
                self.one(f"{kind}-{number}")
        if not enough():
            what = f"{most} trials were not enough: the command ended before anything befell it"
            self.tally.faults.append(Fault(kind="manners", trial=kinds[0], what=what, befell=()))

    def _undisturbed(self) -> Reference:
        folder = self.work / "reference"
        folder.mkdir(parents=True)
        ended = run(self.command.start(), folder, folder.with_name("reference.logs"))
        if ended.code != 0:
            raise RuntimeError(f"{self.command.name} undisturbed ended with {ended.code}: {ended.errors}")
        out = folder / OUT
        sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
        return Reference(
            outcome=self.command.outcome(out),
            seconds=ended.seconds,
            begun=ended.begun,
            renames=len(ended.renames),
            size=pages(out),
            largest=max(sizes),
        )

    # Trials

    def _moment(self, trial: Trial, number: signal.Signals, changed: bool) -> At:
        """Before the output changes and after, or after alone: where it does little else than write."""
        working = self.reference.seconds - self.reference.begun
        if changed:
            return At(seconds=trial.dice.uniform(0, working), number=number)
        return At(seconds=trial.dice.uniform(AWAKE, self.reference.seconds), number=number, changed=False)

    def _killed(self, trial: Trial, number: int) -> None:
        """Killed at random moments, one after the other."""
        trial.folder.mkdir()
        for nth in range(CHAIN):
            at = self._moment(trial, signal.SIGKILL, changed=(number + nth) % 3 != 2)
            if not self._kill(trial, at):
                return
        trial.to_the_end(self.reference)

    def _renamed(self, trial: Trial, number: int) -> None:
        """Killed around renames; a continued run has fewer of them, so that the later kills come early in it."""
        trial.folder.mkdir()
        for nth in range(CHAIN):
            last = max(1, self.reference.renames >> nth)
            rename = Rename(at=trial.dice.randrange(last), side=trial.dice.choice(("before", "after")))
            if not self._kill(trial, rename):
                return
        trial.to_the_end(self.reference)

    def _kill(self, trial: Trial, blow: At | Rename) -> bool:
        """Whether it was killed, and did not end before."""
        ended = trial.go(blow)
        if ended.code != -signal.SIGKILL:
            trial.finished(ended, self.reference)
            return False
        self.tally.kills += 1
        trial.note(f"{blow} (then {ended.renames[-1] if ended.renames else 'nothing'} was renamed last)")
        return True

    def _signalled(self, trial: Trial, number: int) -> None:
        """Asked to stop: soon, in order, and with a word about how to go on."""
        trial.folder.mkdir()
        asked = SIGNALS[number % 2]
        at = self._moment(trial, asked, changed=number % 4 < 2)
        ended = trial.go(at)
        if ended.code == 0 or (ended.code == -asked and trial.is_done(self.reference)):
            trial.check_end(self.reference)  # at the latest while Python was shutting down
            return
        self.tally.signals += 1
        self.tally.slowest_stop = max(self.tally.slowest_stop, ended.stopping or 0)
        trial.note(at)
        trial.expect(ended.code == 128 + asked, f"exit code {ended.code} after {asked.name}: {ended.last}")
        trial.expect((ended.stopping or 0) <= STOPPED_WITHIN, f"it took {ended.stopping or 0:.1f} s to stop")
        if lost := self.command.lost(trial.out):
            trial.fault("difference", lost)
        trial.continue_as_told(ended)
        trial.to_the_end(self.reference)

    def _filled(self, trial: Trial, _: int) -> None:
        """The disk fills up; then there is room."""
        part, reference = trial.dice.random(), self.reference
        with small_disk(trial.folder, 4 * reference.size + (16 << 20)) as small:
            free = int(part * (reference.size if small else reference.largest))
            if small:
                leave(trial.folder, free)
            ended = trial.go(file_limit=None if small else free)
            if ended.code == 0:
                trial.check_end(reference)
            else:
                self._refused(trial, ended, free)
                if small:
                    make_room(trial.folder)
                trial.to_the_end(reference)
            if small and len(self.tally.faults) > trial.faults:
                shutil.copytree(trial.out, trial.folder.with_name(f"{trial.name}.kept"))

    def _refused(self, trial: Trial, ended: Ended, free: int) -> None:
        """A readable line, and nothing torn."""
        self.tally.refusals += 1
        trial.note(f"a disk with {free:,} bytes")
        trial.expect(ended.code == 2, f"exit code {ended.code} on a full disk: {ended.last}")
        trial.expect("Traceback" not in ended.errors, "a traceback on a full disk")
        trial.expect("Make room" in ended.last, f"no word about room on a full disk: {ended.last}")

    def _leave(self, trial: Trial) -> None:
        """Say how it went; what has a fault stays."""
        own = self.tally.faults[trial.faults :]
        story = "; ".join(trial.befell) or "it ended first"
        print(f"{self.command.name} {trial.name}: {story}: {f'{len(own)} faults' if own else 'good'}", file=sys.stderr)
        if own:
            again = f"python -m tests.soak --commands {self.command.name} --seed {self.seed} --only {trial.name}"
            print(f"    to see it again: {again}\n    what it left: {trial.folder}", file=sys.stderr)
        else:
            shutil.rmtree(trial.folder, ignore_errors=True)
            shutil.rmtree(trial.logs, ignore_errors=True)


def soak(name: str, *, inputs: Path, work: Path, seed: int, kills: int, only: Sequence[str]) -> Tally:
    """All trials of a command of the table, or those called `only`.

    For a process of its own: looking over one command's files then delays no other's kill.
    """
    own = Soak(commands(inputs)[name], work, seed)
    for trial in only:
        own.one(trial)
    return own.tally if only else own.everything(kills)
