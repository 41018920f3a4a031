"""A process that is killed between two files, without a process."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest


def cut_short(work: Callable[[], object], at: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do `work`, but stop right before its file number `at` takes its place; whether there was such a file."""
    replace, calls = Path.replace, count()

    def replaced(path: Path, target: Path) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replaced)
        try:
            work()
        except KeyboardInterrupt:
            return True
    return False
