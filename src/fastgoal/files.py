"""Files that are whole or absent: written aside, forced to disk, and renamed.

A reader, or a restart after a kill, finds the old file or the whole new one. What the disk refuses (no space left, no
permission, a read-only file system) becomes a `DataError` that says so; nothing that was there is touched by it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastgoal.errors import DataError

ASIDE = ".tmp"
"""Suffix of a file that is being written; what a kill leaves under it is written over next time."""


def write_file(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` in one step.

    Raises:
        DataError: the disk refuses.
    """
    with writing(path), staged(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by readable JSON in one step; values that JSON does not know are written as text.

    Raises:
        DataError: the disk refuses.
    """
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A name to write a file under; it takes the place of `path` when the block ends without an error."""
    aside = path.with_name(path.name + ASIDE)
    yield aside
    force_to_disk(aside)
    aside.replace(path)
    force_to_disk(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's refusals inside the block into a `DataError` that names `path` and the mend."""
    try:
        yield
    except OSError as error:
        what = f"cannot write here ({error.strerror or error})"
        mend = "Make room or choose another folder; what was finished is kept, and the same command continues."
        raise DataError(what, where=path, mend=mend) from error


def force_to_disk(path: Path) -> None:
    """Returns when the file, or the folder's list of files, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows does not open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
