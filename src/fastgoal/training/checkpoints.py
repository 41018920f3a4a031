"""Checkpoints that are whole or absent.

transformers writes into `checkpoint-N` in place and resumes from the highest number, complete or not. Here a
checkpoint is written aside, sealed with the sizes of its files, forced to disk and then renamed; resuming takes the
newest one whose seal holds.
"""

import json
import re
import shutil
from pathlib import Path

from fastgoal.files import make_folder, replace_folder, write_json, writing

SEAL = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def publish(written: Path, folder: Path, keep: int) -> Path:
    """Seal a finished checkpoint, move it into `folder`, and delete all but the `keep` newest there.

    Raises:
        DataError: the disk refuses.
    """
    make_folder(folder)
    place = folder / written.name
    with writing(place):
        seal(written)
        replace_folder(written, place)
    drop_old(folder, keep)
    return place


def drop_old(folder: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints."""
    for old in _by_step(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)


def seal(folder: Path) -> None:
    """Write down the sizes of all files, so that a later reader can tell a whole folder from a torn one."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(folder / SEAL, sizes)


def torn(folder: Path) -> list[str]:
    """The files of a checkpoint that are missing or not of the size they were sealed with; the seal if that is torn.

    A checkpoint of several processes has a file of each.
    """
    try:
        sizes = dict(json.loads((folder / SEAL).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return [SEAL]
    return [name for name, size in sizes.items() if _size(folder / name) != size]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def is_complete(folder: Path) -> bool:
    """Whether the seal is there and every file still has its size."""
    return not torn(folder)


def incomplete(folder: Path) -> list[tuple[Path, list[str]]]:
    """Newest first, the checkpoints that are not complete, and what is wrong with them."""
    return [(path, missing) for path in _by_step(folder) if (missing := torn(path))]


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint of the highest step, if there is one."""
    return next((path for path in _by_step(folder) if is_complete(path)), None)


def step_of(checkpoint: Path) -> int:
    """The optimiser step after which the checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def _by_step(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)
