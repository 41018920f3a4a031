"""What the pages of the documentation tell a reader to type, for the tests that type it."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def steps(page: Path, *languages: str) -> list[tuple[str, str]]:
    """The page's code in these languages, in its order."""
    return [(kind, text) for kind, text in _FENCED.findall(page.read_text(encoding="utf-8")) if kind in languages]


def blocks(page: Path, language: str) -> list[str]:
    return [text for _, text in steps(page, language)]


def run(command: str | Sequence[str], folder: Path, **options: Any) -> str:
    """Types a command in a folder, without network, and returns what it prints."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"
    return done.stdout
