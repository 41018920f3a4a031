"""From a model to a folder in another format: written aside, checked, and only then under its name."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgoal.errors import ConfigError
from fastgoal.export.onnx import write_onnx
from fastgoal.export.open_clip import write_open_clip
from fastgoal.export.parity import Check
from fastgoal.export.sentence_transformers import write_sentence_transformers
from fastgoal.files import make_folder, replace_folder
from fastgoal.hub import descent
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import expect_free, writing_weights, written_under

Write = Callable[[DualEncoder, Path, dict[str, Any]], list[Check]]
"""Writes a model into an empty folder, with what its card inherits, and checks it."""
FORMATS: Mapping[str, Write] = {
    "onnx": write_onnx,
    "sentence-transformers": write_sentence_transformers,
    "open-clip": write_open_clip,
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A finished export. files: their names and sizes in bytes. checks: what was compared with the model, and by which
    library; empty where that library is not installed."""

    format: str
    model: str
    out: Path
    text_tokens: int
    image_size: int
    dim: int
    files: Mapping[str, int]
    checks: tuple[Check, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain = {name: value for name, value in vars(self).items() if name not in ("out", "files", "checks")}
        checks = [check.to_json() for check in self.checks]
        return {**plain, "out": str(self.out), "files": dict(self.files), "checks": checks}


def export(encoder: DualEncoder, out: str | Path, format: str) -> Exported:
    """Write a model for another library, and check there that it gives the same embeddings.

    Args:
        encoder: the model, on the CPU.
        out: folder to write; new or empty.
        format: `onnx`, `sentence-transformers` or `open-clip`.

    Raises:
        ConfigError: there is no such format, it cannot hold this model, or its library is not installed; a model that
            is not on the CPU.
        ModelError: the folder is not empty; the other library gives other embeddings.
        DataError: the disk refuses.
    """
    if format not in FORMATS:
        raise ConfigError(f"there is no format {format!r}", where="format", mend=f"Use {', '.join(FORMATS)}.")
    if encoder.device.type != "cpu":
        mend = "Load it with device='cpu'."
        raise ConfigError("models are exported from the CPU", where=f"device {encoder.device}", mend=mend)
    out, begin = Path(out), time.perf_counter()
    expect_free(out)
    make_folder(out.parent)
    with _aside(out) as folder, _resting(encoder):
        checks = FORMATS[format](encoder, folder, descent(encoder.name))
        files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
        replace_folder(folder, out)
    return Exported(
        format=format,
        model=encoder.name,
        out=out,
        text_tokens=encoder.text_limit,
        image_size=encoder.fit.size,
        dim=encoder.dim,
        files=files,
        checks=tuple(checks),
        seconds=round(time.perf_counter() - begin, 3),
    )


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, which is gone when the block ends unless it was renamed."""
    folder = written_under(out)
    try:
        with writing_weights(out):
            shutil.rmtree(folder, ignore_errors=True)  # what a kill left
            folder.mkdir()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _resting(encoder: DualEncoder) -> Iterator[None]:
    """No dropout inside; the encoder's training state is put back afterwards."""
    training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(training)
