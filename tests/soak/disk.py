"""A disk that fills up: a small file system in memory where the harness may mount one, else a limit on every file.

Room is taken by a file of zeros, and made by deleting it.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLAST = "ballast"
PAGE = 4096


def pages(out: Path) -> int:
    """The bytes that the files of a folder take up on such a file system."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in out.rglob("*") if path.is_file())


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount `size` bytes at `folder`; False if this process may not."""
    folder.mkdir(parents=True)
    mounted = _done("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield mounted
    finally:
        if mounted and not _done("umount", str(folder)):
            _done("umount", "--lazy", str(folder))


def leave(folder: Path, free: int) -> None:
    """Fill the disk but for so many bytes."""
    state = os.statvfs(folder)
    with (folder / BALLAST).open("wb") as file:
        file.write(bytes(max(0, state.f_bavail * state.f_frsize - free)))


def make_room(folder: Path) -> None:
    (folder / BALLAST).unlink()


def _done(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
