"""Evaluation results that are kept: what is on disk is read instead of measured again, if it is of the same inputs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastgoal.evaluation import EvalResult
from fastgoal.files import read_json, write_json, writing


def is_kept(path: Path, key: Mapping[str, Any]) -> bool:
    """Whether the result at `path` was made from what `key` says."""
    return path.exists() and key_of(path) == key


def key_of(path: Path) -> dict[str, Any] | None:
    """What the result at `path` was made from; None where that is not known."""
    return read_json(_key_file(path))


def kept(path: Path, key: Mapping[str, Any], make: Callable[[], EvalResult]) -> EvalResult:
    """The result at `path` if it was made from what `key` says; else a new one, written there with its key.

    Raises:
        DataError: the disk refuses.
    """
    if is_kept(path, key):
        return EvalResult.load(path)
    result, key_file = make(), _key_file(path)
    with writing(key_file):
        key_file.unlink(missing_ok=True)  # first, so that no moment has another's key beside this result
    result.save(path)
    write_json(key_file, key)
    return result


def _key_file(path: Path) -> Path:
    return path.with_suffix(".key.json")
