"""From records (one JSON object, one row of a table) to samples, whatever their columns are called."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fastgoal.data.columns import Columns
from fastgoal.data.samples import Sample, parse_sample
from fastgoal.errors import DataError
from fastgoal.remote.place import Place


def samples_of(record: Any, where: str, columns: Columns, root: Place | None) -> Iterator[Sample | DataError]:
    """The sample of a record, or several where its caption is a list, or the error in its place."""
    captions = record.get(columns.caption) if isinstance(record, Mapping) else None
    if not isinstance(captions, list):
        yield _parsed(record, where, columns, root)
        return
    if not captions:
        yield DataError(f"{columns.caption} is an empty list", where=where, mend="Give at least one caption.")
    for number, caption in enumerate(captions, start=1):
        place = f"{where} {columns.caption}[{number - 1}]"
        sample = _parsed({**record, str(columns.caption): caption}, place, columns, root)
        if isinstance(sample, Sample) and sample.id and number > 1:
            sample = replace(sample, id=f"{sample.id}#{number}")
        yield sample


def _parsed(record: Any, where: str, columns: Columns, root: Place | None) -> Sample | DataError:
    try:
        return parse_sample(record, where, columns, root)
    except DataError as error:
        return error
