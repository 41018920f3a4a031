"""Checkpoints that are whole or absent.

transformers writes into `checkpoint-N` in place and resumes from the highest number, complete or not. Here a
checkpoint is written aside, sealed with the sizes of its files, forced to disk and then renamed; resuming takes the
newest one whose seal holds.
"""

import json
import os
import re
import shutil
from pathlib import Path

SEAL = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def publish(written: Path, folder: Path, keep: int) -> Path:
    """Seal a finished checkpoint, move it into `folder`, and delete all but the `keep` newest there."""
    folder.mkdir(parents=True, exist_ok=True)
    seal(written)
    place = folder / written.name
    replace_folder(written, place)
    for old in _by_step(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def seal(folder: Path) -> None:
    """Write down the sizes of all files and force them to disk, so that a later reader can tell a whole folder from a
    torn one.
    """
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / SEAL).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        _force_to_disk(path)


def is_complete(folder: Path) -> bool:
    """Whether the seal is there and every file still has its size."""
    try:
        sizes = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint of the highest step, if there is one."""
    return next((path for path in _by_step(folder) if is_complete(path)), None)


def step_of(checkpoint: Path) -> int:
    """The optimiser step after which the checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def replace_folder(new: Path, place: Path) -> None:
    """Put `new` at `place`. A folder cannot be replaced in one step; a kill in between leaves the old one as
    `place.old`.
    """
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    _force_to_disk(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _by_step(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)


def _force_to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows does not open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
