"""Real processes that are killed, signalled or refused by the disk.

The one idea: what befalls a process is a value (`At` a moment, or at a `Rename`), so that a trial can say what it did
and do it again. Output and errors go to files beside the process's folder, never into it: the folder may be a full
disk.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import fastgoal

HOOK = Path(__file__).parent / "hook"
OUT = "out"
"""Every command writes to this folder of its trial's own."""
POLL = 0.01
PATIENCE = 240.0
"""Seconds after which a process is taken to hang."""


@dataclass(frozen=True, kw_only=True)
class At:
    """A signal after so many seconds: from the start, or from when the output begins to change."""

    seconds: float
    number: signal.Signals = signal.SIGKILL
    changed: bool = True

    def __str__(self) -> str:
        since = "its output began to change" if self.changed else "its start"
        return f"{self.number.name} {self.seconds:.2f} s after {since}"


@dataclass(frozen=True, kw_only=True)
class Rename:
    """SIGKILL right before or after the rename of this number, counted from 0."""

    at: int
    side: Literal["before", "after"]

    def __str__(self) -> str:
        return f"SIGKILL {self.side} rename {self.at}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended: its exit code (or minus the signal), what it said, and the files it renamed.

    seconds: from start to end. begun: when its output first changed; the end if never. stopping: from the signal that
    was sent to the end; None if it ended before.
    """

    code: int
    errors: str
    renames: tuple[str, ...]
    seconds: float
    begun: float
    stopping: float | None

    @property
    def last(self) -> str:
        """The last line of its errors."""
        return (self.errors.strip().splitlines() or [""])[-1].rpartition("\r")[2]


def run(
    program: Sequence[str],
    folder: Path,
    logs: Path,
    *,
    at: At | None = None,
    rename: Rename | None = None,
    file_limit: int | None = None,
) -> Ended:
    """Run a program in `folder`.

    Args:
        logs: gets `output`, `errors` and `renames`, anew each time.
        file_limit: bytes that no file may grow beyond.
    """
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "renames").write_text("")
    env = _environment(folder / OUT, logs / "renames", rename)
    limit = None if file_limit is None else _limited(file_limit)
    with (logs / "output").open("w") as output, (logs / "errors").open("w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(program, cwd=folder, env=env, stdout=output, stderr=errors, preexec_fn=limit)
        begun, sent = _attend(process, folder / OUT, start, at)
        end = time.perf_counter()
    return Ended(
        code=process.returncode,
        errors=(logs / "errors").read_text(errors="replace"),
        renames=tuple((logs / "renames").read_text().splitlines()),
        seconds=end - start,
        begun=(begun or end) - start,
        stopping=None if sent is None else end - sent,
    )


def _environment(out: Path, log: Path, rename: Rename | None) -> dict[str, str]:
    asked = {"out": str(out), "log": str(log)} | ({} if rename is None else {"at": rename.at, "side": rename.side})
    sources = [str(HOOK), str(Path(fastgoal.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    own = {"FASTGOAL_SOAK": json.dumps(asked), "PYTHONPATH": os.pathsep.join(filter(None, sources))}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _limited(size: int):  # type: ignore[no-untyped-def]
    import resource  # not there on Windows

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _attend(
    process: subprocess.Popen[bytes], out: Path, start: float, at: At | None
) -> tuple[float | None, float | None]:
    """Wait for the end, sending the signal on the way; when the output began to change, and when it was sent."""
    before, begun, sent = stamps(out), None, None
    while process.poll() is None:
        now = time.perf_counter()
        if begun is None and stamps(out) != before:
            begun = now
        since = begun if at is not None and at.changed else start
        if at is not None and sent is None and since is not None and now >= since + at.seconds:
            process.send_signal(at.number)
            sent = now
        if now > start + PATIENCE:
            process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    return begun, sent


def stamps(folder: Path) -> set[tuple[str, int, int]]:
    """Name, size and time of every file, in a folder that may change meanwhile."""
    found = set()
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                state = os.stat(os.path.join(here, name))  # noqa: PTH116, PTH118  (a few thousand times a second)
                found.add((os.path.join(here, name), state.st_size, state.st_mtime_ns))  # noqa: PTH118
    return found


def fastgoal_program(tokens: Sequence[object]) -> list[str]:
    return [sys.executable, "-m", "fastgoal", *map(str, tokens)]
