"""Files that are whole or absent: written aside, forced to disk, and renamed.

A reader, or a restart after a kill, finds the old file or the whole new one. What the disk refuses (no space left, no
permission, a read-only file system) becomes a `DataError` that says so; nothing that was there is touched by it.
Folders likewise, but for one moment in which the old one is called `NAME.old`.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastgoal.errors import DataError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""What a URL is as a path."""
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
    try:
        yield aside
        force_to_disk(aside)
        aside.replace(path)
    except Exception:
        with suppress(OSError):
            aside.unlink(missing_ok=True)  # half a file would only take up room
        raise
    force_to_disk(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that only grows, and force it to disk; a kill may leave a part of it.

    Raises:
        DataError: the disk refuses.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        DataError: the disk refuses, a file has the name, or it was meant as a URL.
    """
    if _URL.match(path.as_posix()):
        mend = "Name a folder on this machine, and copy it there when it is done."
        raise DataError("results are not written to object storage", where=path, mend=mend)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def replace_folder(new: Path, place: Path) -> None:
    """Force the files of `new` to disk and put it at `place`. A kill in between leaves the old one as `place.old`;
    `recover_folder` puts it back.
    """
    for path in (*new.rglob("*"), new):
        force_to_disk(path)
    old = _old(place)
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    force_to_disk(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(place: Path) -> None:
    """Clear up what a kill in `replace_folder` left: one of the two folders stays, the new one if it was in place."""
    old = _old(place)
    if old.exists() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _old(place: Path) -> Path:
    return place.with_name(place.name + ".old")


def shown_name(name: str | Path) -> str:
    """What others see of a model's or data set's name: a folder's own name without where it lies here (with the run's
    name where it is a run's `model`), else as it is."""
    with suppress(OSError):  # a name may be too long for a file's
        if Path(name).is_dir():
            *_, parent, own = ("", *Path(name).resolve().parts)
            return f"{parent}/{own}" if own == "model" else own
    return str(name)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's refusals inside the block into a `DataError` that names `path` and the mend."""
    try:
        yield
    except OSError as error:
        what = f"cannot write here ({error.strerror or error})"
        mend = "Make room, allow writing there, or choose another folder; what was finished is kept."
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
