"""What a folder holds: whether every file under its final name is whole, what was left half made, and whether two
folders hold the same.

The one idea: files are read with their formats' own readers, and compared byte for byte but for times. Names that say
"not finished" (`.tmp`, `.new`, `.old`, or with a dot in front) may hold anything until the end.
"""

import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.numpy import load_file

from fastgoal.training.checkpoints import SEAL
from fastgoal.training.checkpoints import torn as torn_in_checkpoint

TIMES = ("seconds", "samples_per_second", "images_per_second", "data_wait", "memory_mib", "peak_memory_mib")
UNFINISHED = (".tmp", ".new", ".old")
LOGS = ("trainer_state.json", "training_args.bin")
"""What transformers keeps beside a checkpoint to show, with times in it, and whether it began there."""
_TIMES = re.compile(r"Images per second\D*[\d.]+|time for [^:]+: [\d.]+ s|<h3>Time</h3><dl.*?</dl>")
_CHECKPOINT = re.compile(r"(.*)checkpoint-(\d+)/")
_OLD = 7200


def unfinished(name: Path) -> bool:
    """Whether a file's name, relative to the output, says that it is not finished."""
    return any(part.startswith(".") or Path(part).suffix in UNFINISHED for part in name.parts)


def files(out: Path) -> dict[str, Path]:
    """Every file by its name relative to `out`."""
    return {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}


def leftovers(out: Path) -> list[str]:
    """Files and folders that are not finished."""
    return [str(name) for path in sorted(out.rglob("*")) if unfinished(name := path.relative_to(out))]


def age(out: Path) -> None:
    """As if what is not finished lay there for hours: a cache leaves young files alone, another may be at them."""
    for name in leftovers(out):
        os.utime(out / name, times=(time.time() - _OLD,) * 2)


# Whole


def _json(path: Path) -> None:
    json.loads(path.read_bytes())


def _lines(path: Path) -> None:
    """Tables of lines may grow line by line, so that the last one may be a part."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        json.loads(line)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise ValueError(f"{bad} in it is damaged")


def _jpeg(path: Path) -> None:
    """A scene's picture counts from when the table beside its folder is there."""
    if (path.parent.parent / "captions.jsonl").exists():
        with Image.open(path) as image:
            image.load()


def _seal(path: Path) -> None:
    if bad := torn_in_checkpoint(path.parent):
        raise ValueError(f"the checkpoint lacks {', '.join(bad)}")


READERS: Mapping[str, Callable[[Path], Any]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".parquet": pq.read_table,
    ".safetensors": load_file,
    ".npz": _zip,
    ".pt": lambda path: torch.load(path, weights_only=True),
    ".pth": _zip,
    ".bin": _zip,
    ".jpg": _jpeg,
}
"""What reads a whole file of each kind, and raises for a torn one."""


def _readers(path: Path) -> list[Callable[[Path], Any]]:
    own = [READERS[path.suffix]] if path.suffix in READERS else []
    return [*own, _seal] if path.name == SEAL else own


def torn(out: Path) -> list[str]:
    """The files under their final names that cannot be read, and why."""
    found = []
    for name, path in files(out).items():
        if unfinished(Path(name)):
            continue
        try:
            for read in _readers(path):
                read(path)
        except Exception as error:  # whatever a reader raises, the file is not whole
            found.append(f"{name}: {type(error).__name__} {str(error).partition(chr(10))[0]}")
    return found


# The same


def outcome(out: Path, ignored: str = "") -> dict[str, Any]:
    """What to compare of every finished file; of those under the folder `ignored` nothing."""
    names = [name for name in files(out) if not unfinished(Path(name)) and not (ignored and name.startswith(ignored))]
    return {name: _compared(out / name) for name in _without_older_checkpoints(names)}


def _without_older_checkpoints(names: Sequence[str]) -> list[str]:
    """A run that was asked to stop leaves one more checkpoint, so that the last one alone is the same."""
    steps = {name: (found[1], int(found[2])) for name in names if (found := _CHECKPOINT.match(name))}
    last = {folder: max(step for own, step in steps.values() if own == folder) for folder, _ in steps.values()}
    return [name for name in names if name not in steps or steps[name][1] == last[steps[name][0]]]


def _compared(path: Path) -> Any:
    if path.name in LOGS:
        return None
    content = path.read_bytes()
    with suppress(ValueError):  # what is not JSON after all is compared as it stands
        match path.suffix:
            case ".json":
                return _json_compared(path.name, json.loads(content))
            case ".jsonl":
                return [_timeless(json.loads(line)) for line in content.splitlines()]
            case ".md" | ".html":
                content = _TIMES.sub("", content.decode()).encode()
    return sha256(content).hexdigest()


def _json_compared(name: str, value: Any) -> Any:
    if name == SEAL:
        return sorted(value)  # the sizes are those of files with times in them
    if name == "metrics.json":
        value = {key: own for key, own in value.items() if key != "stages"}  # seconds by stage
    return _timeless(value)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(own) for key, own in value.items() if key not in TIMES}
    return [_timeless(own) for own in value] if isinstance(value, list) else value


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """The files that are missing, more, or not the same, with the first place where JSON differs."""
    lines = [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} should not be there" for name in found if name not in expected]
    both = [name for name in expected if name in found and expected[name] != found[name]]
    return lines + [f"{name} differs{_where(expected[name], found[name])}" for name in both]


def _where(a: Any, b: Any, at: str = "") -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        key = next(key for key in {**a, **b} if a.get(key, ...) != b.get(key, ...))
        return _where(a.get(key), b.get(key), f"{at}.{key}")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        row = next(i for i in range(len(a)) if a[i] != b[i])
        return _where(a[row], b[row], f"{at}[{row}]")
    return f" at {at}: {str(a)[:60]} became {str(b)[:60]}" if at else ""
