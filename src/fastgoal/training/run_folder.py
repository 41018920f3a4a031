"""The output folder of a training run.

    model/         the best weights so far, a plain transformers folder with its card; best.json: their step and score
    history.jsonl  one line per `log_every` steps and per validation
    checkpoints/   for resuming; settings.json: what the weights depend on
    train.json     the result, at the end

Everything is written aside and renamed, except for the history, which only grows; on resuming it is cut back to the
checkpoint.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgoal.errors import ConfigError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.checkpoints import newest_complete, replace_folder


class RunFolder:
    """Paths and files of one run.

    Args:
        path: the folder; made if it is not there.
        identity: what the final weights depend on (settings, data, starting weights); JSON values.
        resume: continue the run that is there; if there is none, start one.

    Raises:
        ConfigError: another run is there, or the one to continue was made differently.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.path = Path(path)
        self.model, self.best = self.path / "model", self.path / "best.json"
        self.history, self.checkpoints = self.path / "history.jsonl", self.path / "checkpoints"
        self.report, self.nonfinite = self.path / "train.json", self.path / "nonfinite.json"
        settings = self.path / "settings.json"
        if settings.exists():
            _check_same(settings, identity, resume)
        elif self.model.exists() or self.report.exists():
            raise ConfigError("the folder already holds a model", where=self.path, mend="Choose another folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(settings, identity)
        aside = self.model.with_name("model.old")
        if aside.exists() and not self.model.exists():  # killed between the two renames of `replace_folder`
            aside.rename(self.model)

    def checkpoint(self) -> Path | None:
        """The newest complete checkpoint."""
        return newest_complete(self.checkpoints)

    def append(self, row: Mapping[str, Any]) -> None:
        with self.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """The history; a last line that a kill left half written is ignored."""
        if not self.history.exists():
            return []
        lines = self.history.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def cut(self, step: int | None) -> None:
        """Forget what the history says after `step` (None: everything): it is about to happen again."""
        kept = [] if step is None else [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        _write(self.history, "".join(kept))

    def keep_model(self, encoder: DualEncoder, card: str) -> None:
        """Replace `model/` by these weights."""
        aside = self.path / "model.new"
        shutil.rmtree(aside, ignore_errors=True)  # what a kill in the middle of an earlier save left there
        encoder.save(aside)
        (aside / "README.md").write_text(card, encoding="utf-8")
        replace_folder(aside, self.model)


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside and rename it."""
    _write(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _write(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _check_same(settings: Path, identity: Mapping[str, Any], resume: bool) -> None:
    if not resume:
        mend = "Resume it, or choose another folder."
        raise ConfigError("the folder already holds a run", where=settings.parent, mend=mend)
    before, now = read_json(settings) or {}, json.loads(json.dumps(identity))
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        differences = "; ".join(f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in changed)
        mend = "Use the same settings, data and starting weights, or choose another folder."
        raise ConfigError(f"the run to continue was made differently: {differences}", where=settings.parent, mend=mend)
