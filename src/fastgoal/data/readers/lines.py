"""Text files with one record per row: JSON lines, and CSV or TSV with a header."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastgoal.data.columns import Columns
from fastgoal.data.readers.records import samples_of
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError
from fastgoal.remote.place import Place

_LONGEST_FIELD = 2**24
"""Characters of a CSV field, instead of the csv module's 131,072."""


@dataclass(frozen=True, kw_only=True)
class JsonLinesReader:
    """One JSON object per line. Lines end at LF only: JSON strings may hold U+2028, which `str.splitlines` would cut
    at."""

    file: Path
    columns: Columns = field(default_factory=Columns)
    root: Place | None = None

    def __iter__(self) -> Iterator[Sample | DataError]:
        columns: Columns | None = None
        with self.file.open("rb") as lines:
            for number, raw in enumerate(lines, start=1):
                if not raw.strip():
                    continue
                where = f"{self.file}:{number}"
                try:
                    record = decode_line(raw, where)
                except DataError as error:
                    yield error
                    continue
                if columns is None and isinstance(record, dict):
                    columns = self.columns.among(list(record), where)
                yield from samples_of(record, where, columns or self.columns, self.root)


def decode_line(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start}", where=where, mend="Save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        mend = "Write one complete JSON object per line."
        raise DataError(f"not JSON at column {error.colno}: {error.msg}", where=where, mend=mend) from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"not JSON: {error}", where=where, mend="Write plain numbers.") from None
    except RecursionError:
        raise DataError("JSON nested too deeply", where=where, mend="Write one flat object per line.") from None


@dataclass(frozen=True, kw_only=True)
class CsvReader:
    """Rows under a header line; the delimiter is whichever of comma, semicolon and tab the header has most of. A cell
    `regions` holds JSON."""

    file: Path
    columns: Columns = field(default_factory=Columns)
    root: Place | None = None

    def __iter__(self) -> Iterator[Sample | DataError]:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        with self.file.open(encoding="utf-8-sig", newline="") as text:
            try:
                header = text.readline()
                text.seek(0)
                rows = csv.reader(text, delimiter=max(",;\t", key=header.count), strict=True)
                names = next(rows, [])
                if len(set(names)) < len(names):
                    twice = next(name for name in names if names.count(name) > 1)
                    mend = "Give every column its own name."
                    raise DataError(f"column {twice!r} is there twice", where=f"{self.file}:1", mend=mend)
                columns = self.columns.among(names, f"{self.file}:1")
                begin = rows.line_num + 1
                for row in rows:
                    where, begin = f"{self.file}:{begin}", rows.line_num + 1
                    if any(cell.strip() for cell in row):
                        yield from self._samples(names, row, where, columns)
            except UnicodeDecodeError as error:
                mend = "Save the file as UTF-8."
                raise DataError(f"not UTF-8 ({error.reason})", where=self.file, mend=mend) from None
            except csv.Error as error:
                mend = "Put captions with quotes, commas or line breaks in double quotes, and double the quotes inside."
                raise DataError(f"not CSV ({error})", where=f"{self.file}:{rows.line_num}", mend=mend) from None

    def _samples(self, names: list[str], row: list[str], where: str, columns: Columns) -> Iterator[Sample | DataError]:
        if len(row) != len(names):
            mend = "Put captions with commas in double quotes."
            yield DataError(f"{len(row)} cells under {len(names)} columns", where=where, mend=mend)
            return
        record: dict[str, Any] = dict(zip(names, row, strict=True))
        if columns.id and not record[columns.id].strip():
            record[columns.id] = None
        if record.get("regions"):
            try:
                record["regions"] = json.loads(record["regions"])
            except json.JSONDecodeError as error:
                mend = 'Write [{"box": [x1, y1, x2, y2]}, ...] as JSON, or leave the cell empty.'
                yield DataError(f"regions is not JSON ({error.msg})", where=where, mend=mend)
                return
        yield from samples_of(record, where, columns, self.root)
