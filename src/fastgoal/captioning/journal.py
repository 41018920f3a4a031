"""The folder that captions are written to, and how an interrupted run goes on in it.

    captions.jsonl    the data contract's lines: a folder with it is data for every other command
    left-out.jsonl    what has no caption, and why
    caption.json      what the captions were made by and, when all is done, the counts

The one idea: every image has exactly one line, in one of the two tables, and a batch of images counts when all its
lines are whole. What a kill left of a batch is cut off and written again, so that a batch's captions do not depend on
where a run was interrupted. Images are named relative to the folder and never copied.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from textwrap import shorten
from typing import Any

from fastgoal.errors import DataError
from fastgoal.files import ASIDE, append_line, force_to_disk, make_folder, read_json, write_json, writing

TABLE = "captions.jsonl"
LEFT_OUT = "left-out.jsonl"
REPORT = "caption.json"
_OVERWRITE = "Use the same settings, another folder, or --overwrite to start anew."


def read_record(folder: Path) -> dict[str, Any] | None:
    """What `caption.json` says; None for a new or empty folder.

    Raises:
        DataError: the folder holds something else.
    """
    path = folder / REPORT
    if not path.exists():
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        if foreign := next((each for each in inside if each.suffix != ASIDE), None):
            mend = "Choose an empty or new folder for the captions."
            raise DataError(f"the folder is not empty (it holds {foreign.name})", where=folder, mend=mend)
        return None
    try:
        record = read_json(path)
    except (OSError, ValueError):
        record = None
    if not (isinstance(record, dict) and isinstance(record.get("origin"), dict) and "report" in record):
        mend = "Choose another folder, or delete this one."
        raise DataError("not the record of a captioning", where=path, mend=mend)
    return record


class Journal:
    """Captions in a folder, batch by batch.

    Args:
        folder: created if absent.
        origin: what the captions depend on; must equal that of what is already there.
        overwrite: drop what is there.

    Raises:
        DataError: the folder holds something else, or captions made differently; the disk refuses.
    """

    def __init__(self, folder: str | Path, origin: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder, self.origin = Path(folder), json.loads(json.dumps(dict(origin)))
        self.report: dict[str, Any] | None = None
        found = read_record(self.folder)
        make_folder(self.folder)
        if overwrite:
            with writing(self.folder):
                for name in (TABLE, LEFT_OUT):
                    (self.folder / name).unlink(missing_ok=True)
        elif found is not None:
            self._compare(found["origin"])
            self.report = found["report"]

    def _compare(self, was: Mapping[str, Any]) -> None:
        if names := [name for name in self.origin | dict(was) if self.origin.get(name) != was.get(name)]:
            changes = "; ".join(f"{n} was {_short(was.get(n))}, now {_short(self.origin.get(n))}" for n in names)
            raise DataError(f"made differently: {changes}", where=self.folder, mend=_OVERWRITE)

    def resume(self, batches: Iterable[Sequence[str]]) -> int:
        """How many images are finished; what is there beyond whole batches is cut off.

        Args:
            batches: the names of all images in order, in batches.

        Raises:
            DataError: what is there is about other images.
        """
        tables = [_Table(self.folder / TABLE, "image"), _Table(self.folder / LEFT_OUT, "where")]
        done, rest = 0, iter(batches)
        for names in rest:
            if sum(table.take(set(names)) for table in tables) < len(names):
                rest = chain([names], rest)
                break
            done += len(names)
            for table in tables:
                table.keep()
        self._refuse_foreign({table.head for table in tables} - {None}, rest)
        for table in tables:
            table.cut()
        return done

    def _refuse_foreign(self, heads: set[str | None], rest: Iterable[Sequence[str]]) -> None:
        for names in rest:
            heads -= set(names)
        if heads:
            what = f"the images are others than before: what is here goes on with {min(map(str, heads))}"
            raise DataError(what, where=self.folder, mend="Caption these images into another folder.")

    def begin(self) -> None:
        """From here on lines are added; the report, if there was one, holds no longer."""
        self._write(None)

    def add(self, captions: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]) -> None:
        """Append the lines of a batch."""
        for name, records in ((LEFT_OUT, left_out), (TABLE, captions)):
            if records:
                lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
                append_line(self.folder / name, lines)

    def finish(self, report: Mapping[str, Any]) -> None:
        """All images have their line."""
        self.report = dict(report)
        self._write(self.report)

    def records(self, name: str) -> Iterator[dict[str, Any]]:
        """The lines of a table."""
        path = self.folder / name
        if path.exists():
            with path.open("rb") as lines:
                yield from map(json.loads, lines)

    def _write(self, report: Mapping[str, Any] | None) -> None:
        write_json(self.folder / REPORT, {"origin": self.origin, "complete": report is not None, "report": report})


def _short(value: Any) -> str:
    return shorten(repr(value), 60, placeholder=" ...")


class _Table:
    """A table while it is read again: `head` names the image of the first line not taken yet, None at the end."""

    def __init__(self, path: Path, field: str) -> None:
        self.path, self._field = path, field
        self._size = self._taken = self._kept = 0
        self._lines = self._whole_lines()
        self._next()

    def take(self, names: set[str]) -> int:
        """Go on over the lines of these images; how many there were."""
        count = 0
        while self.head is not None and self.head in names:
            count, self._taken = count + 1, self._size
            self._next()
        return count

    def keep(self) -> None:
        """What was taken so far stays."""
        self._kept = self._taken

    def cut(self) -> None:
        if self.path.exists() and self.path.stat().st_size > self._kept:
            with writing(self.path):
                os.truncate(self.path, self._kept)
                force_to_disk(self.path)

    def _next(self) -> None:
        self.head = next(self._lines, None)

    def _whole_lines(self) -> Iterator[str]:
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    name = json.loads(line)[self._field]
                except (ValueError, KeyError, TypeError):
                    where = f"{self.path}:{number}"
                    raise DataError("not a line of a captioning", where=where, mend=_OVERWRITE) from None
                self._size += len(line)
                yield str(name)
