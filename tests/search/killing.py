"""A process of its own in which indexing is killed over and over.

    python -m tests.search.killing KILLS SEED COMMAND...

It has imported everything but LanceDB, which does not survive a fork, and indexes in forks of itself. Each is killed at
a random moment, until there were so many kills; the last one may end. Prints a JSON object: `kills`, and the exit code
and errors of the last.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import fastgoal.cli.index  # noqa: F401  (so that forks find it imported)
from fastgoal.cli import main


def forked(command: list[str], errors: Path, killed_after: float | None) -> tuple[int, float]:
    """Exit code (minus the signal) and seconds of the command in a fork."""
    begin = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with errors.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            main(command)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begin


def kill_over_and_over(kills: int, seed: int, command: list[str]) -> dict[str, object]:
    dice, done, tries = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        errors, spare = Path(folder) / "errors", Path(folder) / "index"
        at = command.index("--uri") + 1
        _, seconds = forked([*command[:at], str(spare), *command[at + 1 :]], errors, None)
        while done < kills and tries < 4 * kills:
            code, _ = forked(command, errors, dice.uniform(0.1, 0.9) * seconds)
            done, tries = done + (code == -signal.SIGKILL), tries + 1
        code, _ = forked(command, errors, None)
        return {"kills": done, "code": code, "errors": errors.read_text()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(kill_over_and_over(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
