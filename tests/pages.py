"""What the pages of the documentation tell a reader to type, for the tests that type it."""

import multiprocessing
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from fastgoal.cli import main

ROOT = Path(__file__).parents[1]
ALONE = {"HF_HUB_OFFLINE": "1"}
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload([f"fastgoal.cli.{name}" for name in ("demo", "export", "explain", "recipes", "run")])
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def steps(page: Path, *languages: str) -> list[tuple[str, str]]:
    """The page's code in these languages, in its order."""
    return [(kind, text) for kind, text in _FENCED.findall(page.read_text(encoding="utf-8")) if kind in languages]


def blocks(page: Path, language: str) -> list[str]:
    return [text for _, text in steps(page, language)]


def run(command: str | Sequence[str], folder: Path, **options: Any) -> str:
    """Types a command in a folder, without network, and returns what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **ALONE, "PATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout


def follow(language: str, text: str, folder: Path) -> str:
    """Carries out a line of `fastgoal ...`, or Python, as `run` would, in a process of its own that finds everything
    imported: that is most of what a short command takes."""
    with tempfile.TemporaryDirectory() as logs, mock.patch.dict(os.environ, ALONE):
        output, errors = Path(logs, "output"), Path(logs, "errors")
        process = WARM.Process(target=_followed, args=(language, text, folder, output, errors))
        process.start()
        process.join()
        assert process.exitcode == 0, f"{text}\n{errors.read_text()[-3000:]}"
        return output.read_text()


def _followed(language: str, text: str, folder: Path, output: Path, errors: Path) -> None:
    os.chdir(folder)
    os.environ.update(ALONE)
    for number, file in ((1, output), (2, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    if language == "python":
        exec(compile(text, "page", "exec"), {"__name__": "__main__"})
        return
    program, *arguments = shlex.split(text)
    assert program == "fastgoal"
    main(arguments)
