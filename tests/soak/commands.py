"""The commands that are killed, each a row of one table, and the small inputs that they share.

A further command is a further entry: its arguments with `--out out`, and what continues it if not the same again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.captioning.conftest import draw
from tests.captioning.models import llava_next, save
from tests.conftest import save_small_clip
from tests.soak.outcome import outcome
from tests.soak.processes import OUT, fastgoal_program

from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.matching import match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.regions import make_proposer
from fastgoal.search.tables import IMAGES, REGIONS, Tables

CLIP, SCENES, FEW, PHOTOS, CAPTIONER = "clip", "scenes", "few", "photos", "captioner"
PAIRS, HELD_OUT = "pairs", "pairs-val"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command under trial.

    arguments: of `fastgoal`, inputs by their absolute path, the output as `out`.
    again: what is added to continue.
    ignored: a folder in the output whose content depends on the kills by design; it is still read and searched for
        leftovers.
    lost: says what was lost in an output that a signal has just ended, or nothing.
    program: makes arguments a program.
    read: what is compared of its output, where that is not every file byte for byte.
    """

    name: str
    arguments: Sequence[object]
    again: Sequence[str] = ()
    ignored: str = ""
    lost: Callable[[Path], str] = lambda out: ""
    program: Callable[[Sequence[object]], list[str]] = fastgoal_program
    read: Callable[[Path], dict[str, Any]] | None = None

    def outcome(self, out: Path) -> dict[str, Any]:
        """What is compared of its output."""
        return outcome(out, self.ignored) if self.read is None else self.read(out)

    def start(self) -> list[str]:
        return self.program(self.arguments)

    def restart(self) -> list[str]:
        return self.program([*self.arguments, *self.again])


def steps_lost(out: Path) -> str:
    """Nothing that the history says was learned may be missing from the checkpoints."""
    history = out / "history.jsonl"
    rows = [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []
    learned = max((row["step"] for row in rows), default=0)
    kept = max((int(path.name.split("-")[1]) for path in out.glob("checkpoints/checkpoint-*")), default=0)
    return f"step {learned} was in the history, the last checkpoint is {kept}" if kept < learned else ""


@dataclass(frozen=True, eq=False)
class Near:
    """A vector that equals others up to what batch mates change in the last digits."""

    values: tuple[float, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and np.allclose(self.values, other.values, atol=2e-6)

    __hash__ = None  # type: ignore[assignment]


def rows_of_index(out: Path) -> dict[str, Any]:
    """The rows of both tables, whatever files they lie in, and the manifest."""
    found: dict[str, Any] = {"index.json": json.loads((out / "index.json").read_text())}
    for name, columns in ((IMAGES, ["id", "image", "width", "height", "bytes"]), (REGIONS, ["id", "box"])):
        for row in Tables(out).open(name).read([*columns, "key", "vector"]).to_pylist():
            row["vector"] = Near(tuple(row["vector"]))
            key = f"{name} {row['id']} {row.get('box', '')}"
            found[key] = [*found.get(key, []), row]  # so that one that is there twice shows
    return found


def make_inputs(folder: Path) -> None:
    """Models of the real architectures, scenes, photographs and pairs tables; a few seconds."""
    save_small_clip(folder / CLIP)
    save(llava_next, folder / CAPTIONER)
    draw(folder / PHOTOS, 100)
    (folder / PHOTOS / "torn.jpg").write_bytes(b"x")
    write_scenes(folder / SCENES, ScenesConfig(train=1400, val=40, test=60), progress=False)
    write_scenes(folder / FEW, ScenesConfig(train=60, val=0, test=0, seed=1), progress=False)
    encoder = DualEncoder.load(folder / CLIP)
    for split, pairs in (("train", PAIRS), ("val", HELD_OUT)):
        source = open_source(folder / SCENES / split, limit=700)
        match(source, encoder, make_proposer("fixed"), folder / pairs, progress=False)


def commands(inputs: Path) -> Mapping[str, Command]:
    """The table, by name."""
    clip, scenes = inputs / CLIP, inputs / SCENES
    matching = ("match", scenes / "train", "--matcher", clip, "--regions", "fixed")
    every = {"--save-every": 4, "--eval-every": 7, "--log-every": 3, "--keep-checkpoints": 2}
    settings = {"--epochs": 2, "--batch-size": 64, "--learning-rate": 1e-3, "--text-tokens": 77, **every}
    training = ("train", inputs / PAIRS, "--val", inputs / HELD_OUT, "--model", clip, "--method", "goal")
    caption = ("caption", inputs / PHOTOS, "--captioner", inputs / CAPTIONER, "--max-new-tokens", 24)
    index = ("index", clip, inputs / PHOTOS, "--regions", "fixed", "--commit", 8, "--batch", 16)
    run = ("run", inputs / FEW / "train", "--model", clip, "--epochs", 2, "--batch-size", 16)
    rows = (
        Command(name="scenes", arguments=("scenes", OUT, "--train", 300, "--val", 50, "--test", 50)),
        Command(name="match", arguments=(*matching, "--out", OUT)),
        Command(
            name="match-cache",
            arguments=(*matching, "--out", f"{OUT}/pairs", "--cache", f"{OUT}/cache"),
            ignored="cache/",
        ),
        Command(name="caption", arguments=(*caption, "--out", OUT)),
        Command(
            name="train",
            arguments=(*training, *(part for pair in settings.items() for part in pair), "--out", OUT),
            again=("--resume",),
            lost=steps_lost,
        ),
        Command(
            name="eval",
            arguments=("eval", clip, scenes / "test", "--task", "retrieval", "--json", f"{OUT}/result.json"),
        ),
        Command(name="index", arguments=(*index, "--uri", OUT), read=rows_of_index),
        Command(name="run", arguments=(*run, "--out", OUT)),
    )
    return {row.name: row for row in rows}
