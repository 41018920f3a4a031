"""Parquet files and folders that `datasets` saved: tables with a column of images (paths, or the images themselves) and
one of captions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastgoal.data.columns import Columns
from fastgoal.data.readers.records import samples_of
from fastgoal.data.samples import Sample
from fastgoal.data.store import cell_uri, open_arrow
from fastgoal.errors import DataError, first_line
from fastgoal.remote.place import Place, relative
from fastgoal.remote.shelf import fetched, opened

_ROWS = 4096
"""Rows that are in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class TableReader:
    """The rows of some Parquet (`.parquet`) or Arrow files, in the files' order.

    Only the columns that are needed are read, and images that lie in the table are not: a sample's URI names the cell.
    """

    files: tuple[Place, ...]
    root: Place
    columns: Columns = field(default_factory=Columns)

    def __iter__(self) -> Iterator[Sample | DataError]:
        for file in fetched(self.files):
            try:
                yield from self._rows(file)
            except (OSError, pa.ArrowException) as error:
                what = f"the table cannot be read ({first_line(error)})"
                raise DataError(what, where=file, mend="Copy or write it again.") from error

    def _rows(self, file: Place) -> Iterator[Sample | DataError]:
        schema, batches = opened(file, open_table)
        columns = self.columns.among(schema.names, file)
        image = str(columns.image)
        inside = holds_images(schema.field(image).type)
        wanted = [name for name in (columns.caption, columns.id, "regions") if name in schema.names]
        name, row = relative(file, self.root) if inside else "", 0
        for batch in batches([*wanted, *([] if inside else [image])]):
            for record in batch.to_pylist():
                where = f"{file} row {row}"
                if inside:
                    record[image] = cell_uri(name, image, row)
                yield from samples_of(record, where, columns, self.root)
                row += 1


def open_table(file: Path) -> tuple[pa.Schema, Any]:
    """A Parquet or Arrow table's schema, and a function from names of columns to batches of rows."""
    if file.suffix == ".parquet":
        parquet = pq.ParquetFile(file, memory_map=True)
        return parquet.schema_arrow, lambda names: parquet.iter_batches(_ROWS, columns=names)
    table = open_arrow(file)
    return table.schema, lambda names: table.select(names).to_batches(_ROWS)


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column holds the images themselves: bytes, or `datasets`' struct of bytes and path."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
