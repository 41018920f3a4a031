"""Parquet files, or a folder that `datasets` saved, with a column of images and one of labels.

Labels are texts, or numbers whose names `datasets` wrote into the table's metadata.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fastgoal.data.columns import Columns
from fastgoal.data.labelled.source import LabelledImage
from fastgoal.data.readers.tables import holds_images, open_table
from fastgoal.data.samples import relative_path
from fastgoal.data.store import cell_uri
from fastgoal.errors import DataError, first_line

LABELS = ("label", "fine_label", "labels", "class", "category")
"""Names of the column of labels, the first that is there."""
MOST_CLASSES = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: the URI of its image, or why it has none, and its label as it stands; `where` for messages."""

    id: str | DataError
    label: Any
    where: str


def read_tables(
    files: Sequence[Path], root: Path, columns: Columns, *, named: bool
) -> tuple[list[str], list[LabelledImage], list[DataError]]:
    """The names of the classes, the images of all files in order, and the rows that cannot be used.

    Args:
        named: a file of names will say what numbers without names mean; they are called "0", "1", ... until then.

    Raises:
        DataError: no such column, a table that cannot be read, no usable row, or numbers that nobody names.
    """
    rows: list[Row] = []
    names: list[str] | None = None
    for file in files:
        try:
            own, known = _rows(file, root, columns)
        except (OSError, pa.ArrowException) as error:
            what = f"the table cannot be read ({first_line(error)})"
            raise DataError(what, where=file, mend="Copy or write it again.") from None
        rows, names = rows + own, names or known
    texts = {row.label for row in rows if isinstance(row.label, str)} - {""}
    numbers = {row.label for row in rows if isinstance(row.label, int)} - {-1}
    if names is None:
        names = sorted(texts) or _numbered(numbers, files[0], named)
    index: dict[Any, int] = {name: i for i, name in enumerate(names)}
    return names, *_split(rows, index | ({} if texts else {i: i for i in range(len(names))}))


def _numbered(numbers: set[int], where: Path, named: bool) -> list[str]:
    if not numbers:
        raise DataError("no row has a label", where=where, mend="Labels are texts, or numbers from 0.")
    if not 0 <= min(numbers) <= max(numbers) < MOST_CLASSES:
        raise DataError(f"labels from {min(numbers)} to {max(numbers)}", where=where, mend="Number classes from 0.")
    if not named:
        mend = "Give their names with --classes FILE, a line each, in the order of the numbers."
        raise DataError("the labels are numbers without names", where=where, mend=mend)
    return [str(number) for number in range(max(numbers) + 1)]


def _split(rows: Sequence[Row], index: Mapping[Any, int]) -> tuple[list[LabelledImage], list[DataError]]:
    """The rows whose label is a class's, and an error for each of the others."""
    items: list[LabelledImage] = []
    wrong: list[DataError] = []
    for row in rows:
        if isinstance(row.id, DataError):
            wrong.append(row.id)
        elif isinstance(row.label, int | str) and row.label in index:
            items.append(LabelledImage(id=row.id, label=index[row.label]))
        else:
            mend = "Give every row the label of a class."
            wrong.append(DataError(f"label {row.label!r} is no class", where=row.where, mend=mend))
    return items, wrong


def _rows(file: Path, root: Path, columns: Columns) -> tuple[list[Row], list[str] | None]:
    schema, batches = open_table(file)
    label = next((name for name in LABELS if name in schema.names), None)
    if label is None:
        mend = f"Call it {LABELS[0]!r}; the columns are: {', '.join(schema.names)}."
        raise DataError("no column of labels", where=file, mend=mend)
    image = columns.image_among(schema.names, file)
    inside = holds_images(schema.field(image).type)
    name, rows = Path(os.path.relpath(file, root)).as_posix(), list[Row]()
    for batch in batches([label] if inside else [label, image]):
        for record in batch.to_pylist():
            where = f"{file} row {len(rows)}"
            uri = cell_uri(name, image, len(rows)) if inside else _path(record[image], where, root)
            rows.append(Row(id=uri, label=record[label], where=where))
    return rows, _class_names(schema, label)


def _path(value: Any, where: str, root: Path) -> str | DataError:
    if not isinstance(value, str) or not value:
        return DataError("no image", where=where, mend="Give the path of a file relative to --root.")
    try:
        return relative_path(value, where, root)
    except DataError as error:
        return error


def _class_names(schema: pa.Schema, label: str) -> list[str] | None:
    """The names that `datasets` wrote beside the table."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) and names else None
