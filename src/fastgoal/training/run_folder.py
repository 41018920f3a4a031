"""The output folder of a training run.

    model/         the best weights so far, a plain transformers folder with its card; best.json: their step and score
    history.jsonl  one line per `log_every` steps and per validation
    checkpoints/   for resuming; settings.json, precision.json: what the weights depend on
    train.json     the result, at the end

Everything is written aside and renamed, except for the history, which only grows; on resuming it is cut back to the
checkpoint, and what a kill left aside is cleared up. Of several processes one reads and writes, and tells the others
what it read; they must see the same folder to load a checkpoint.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgoal.errors import ConfigError
from fastgoal.files import (
    ASIDE,
    append_line,
    make_folder,
    read_json,
    recover_folder,
    replace_folder,
    write_file,
    write_json,
    writing,
)
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import written_under
from fastgoal.training.checkpoints import drop_old, incomplete, newest_complete
from fastgoal.training.team import ALONE, Team


class RunFolder:
    """Paths and files of one run.

    Args:
        path: the folder; made if it is not there.
        identity: what the final weights depend on (settings, data, starting weights); JSON values.
        resume: continue the run that is there; if there is none, start one.
        team: the processes of the run.

    Raises:
        ConfigError: another run is there, or the one to continue was made differently.
        DataError: the folder cannot be written to; also from the methods that write.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any], *, resume: bool, team: Team = ALONE) -> None:
        self.path, self._team = Path(path), team
        self.model, self.best = self.path / "model", self.path / "best.json"
        self.history, self.checkpoints = self.path / "history.jsonl", self.path / "checkpoints"
        self.report, self.nonfinite = self.path / "train.json", self.path / "nonfinite.json"
        self.aside = self.path / "checkpoint.new"
        self.settings, self.precision = self.path / "settings.json", self.path / "precision.json"
        self.continues: bool = team.agreed(team.main and self._begin(identity, resume))
        self._rows = self._read_rows()

    def _begin(self, identity: Mapping[str, Any], resume: bool) -> bool:
        """Claim the folder; whether it holds a run to continue."""
        continues = self.settings.exists()
        if continues:
            _check_same(self.settings, identity, resume)
        elif self.model.exists() or self.report.exists():
            raise ConfigError("the folder already holds a model", where=self.path, mend="Choose another folder.")
        make_folder(self.path)
        write_json(self.settings, identity)
        return continues

    def clear_up(self, keep: int) -> None:
        """Put right what a kill may have left: folders half replaced, files half written, one checkpoint too many."""
        if not self._team.main:
            return
        with writing(self.path):
            for place in (self.model, *self.checkpoints.glob("checkpoint-*")):
                recover_folder(place.with_suffix(""))
            for aside in (self.aside, self.model_aside, written_under(self.model_aside)):
                shutil.rmtree(aside, ignore_errors=True)
            for path in (self.settings, self.precision, self.history, self.best, self.report, self.nonfinite):
                path.with_name(path.name + ASIDE).unlink(missing_ok=True)
            drop_old(self.checkpoints, keep)

    @property
    def model_aside(self) -> Path:
        return self.path / "model.new"

    def checkpoint(self) -> Path | None:
        """The newest complete checkpoint; those that are not complete are named."""
        if not self._team.main:
            return self._team.agreed(None)
        found = newest_complete(self.checkpoints)
        for path, missing in incomplete(self.checkpoints):
            instead = f"continuing from {found.name}" if found else "beginning anew"
            print(f"{path} is not whole ({', '.join(missing)}): {instead}", file=sys.stderr)
        return self._team.agreed(found)

    def write(self, path: Path, value: Mapping[str, Any]) -> None:
        """One of the folder's JSON files."""
        if self._team.main:
            write_json(path, value)

    def read(self, path: Path) -> dict[str, Any] | None:
        """What one of them says; None if it is not there."""
        return self._team.agreed(read_json(path) if self._team.main else None)

    def append(self, row: Mapping[str, Any]) -> None:
        """A line of the history."""
        self._rows.append(dict(row))
        if self._team.main:
            append_line(self.history, json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """The history."""
        return self._rows

    def cut(self, step: int | None) -> None:
        """Forget what the history says after `step` (None: everything): it is about to happen again."""
        self._rows = [] if step is None else [row for row in self._rows if row["step"] <= step]
        if self._team.main:
            write_file(self.history, "".join(json.dumps(row) + "\n" for row in self._rows))

    def keep_model(self, encoder: DualEncoder, card: str) -> None:
        """Replace `model/` by these weights."""
        if not self._team.main:
            return
        aside = self.model_aside
        shutil.rmtree(aside, ignore_errors=True)
        encoder.save(aside)
        with writing(self.model):
            (aside / "README.md").write_text(card, encoding="utf-8")
            replace_folder(aside, self.model)

    def _read_rows(self) -> list[dict[str, Any]]:
        """A last line that a kill left half written is ignored."""
        there = self._team.main and self.history.exists()
        lines = self.history.read_text(encoding="utf-8").split("\n") if there else [""]
        return self._team.agreed([json.loads(line) for line in lines[:-1]])


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
