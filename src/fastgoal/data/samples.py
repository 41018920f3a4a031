"""Samples: one image with its caption and a stable id, and the check of one record of the data contract.

    {"id": "a17", "image": "images/a17.jpg", "caption": "...", "regions": [{"box": [x1, y1, x2, y2], "span": [s, e]}]}

`id` (default: the image's path) and `regions` are optional and several records may share one image.
"""

import math
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from fastgoal.data.columns import Columns
from fastgoal.errors import DataError
from fastgoal.geometry import Box
from fastgoal.remote.place import Place

Span = tuple[int, int]
"""Half-open character span `[start, end)` of a caption."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenRegion:
    """A box that came with the data; `span` says which characters of the caption it is the truth of."""

    box: Box
    span: Span | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image with its caption. `image` is a URI relative to the source's root (see `ImageStore`); `where` is the
    file and row it was read from, for messages."""

    id: str
    image: str
    caption: str
    regions: tuple[GivenRegion, ...] = ()
    where: str = field(default="", compare=False)


PLAIN = Columns(image="image", caption="caption", id="id")
"""The contract's own names."""


def parse_sample(record: Any, where: str, columns: Columns = PLAIN, root: Place | None = None) -> Sample:
    """Check one record of the data contract. The id stays empty where none is given.

    Args:
        columns: the names of its fields, all but the id's given.
        root: folder that absolute paths are made relative to.

    Raises:
        DataError: the first thing that is wrong, with its field and the mend.
    """
    if not isinstance(record, Mapping):
        raise DataError("not a JSON object", where=where, mend='Write {"image": "...", "caption": "..."}.')
    image = relative_path(_text(record, columns.image or "image", where), where, root)
    caption = _text(record, columns.caption or "caption", where)
    given = record.get("regions") or []
    if not isinstance(given, list):
        raise DataError("regions is not a list", where=where, mend='Write [{"box": [x1, y1, x2, y2]}, ...].')
    regions = tuple(_parse_region(item, caption, f"{where} regions[{i}]") for i, item in enumerate(given))
    sample_id = record.get(columns.id) if columns.id else None
    return Sample(id=_id(sample_id, where), image=image, caption=caption, regions=regions, where=where)


def relative_path(path: str, where: str, root: Place | None) -> str:
    """An image's path in its one spelling: relative to the root, with forward slashes, without `.` parts."""
    windows = PureWindowsPath(path)
    plain = windows.as_posix() if "\\" in path and "/" not in path else path
    if isinstance(root, Path) and Path(plain).is_absolute() and Path(plain).is_relative_to(root.resolve()):
        plain = Path(plain).relative_to(root.resolve()).as_posix()
    if plain.startswith("/") or windows.is_absolute() or "://" in plain:
        mend = "Make it relative to a folder and name that folder with --root."
        raise DataError(f"image {path!r} is not a relative path", where=where, mend=mend)
    return posixpath.normpath(plain)


def _id(value: Any, where: str) -> str:
    """Text or a whole number; also a whole number that a table with gaps has turned into a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError("id is neither text nor a whole number", where=where, mend="Write the id as a string.")
    return str(value)


def _text(record: Mapping[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        state = "missing" if value is None else "empty" if isinstance(value, str) else "not a text"
        raise DataError(f"{field} is {state}", where=where, mend=f"This record has: {', '.join(record) or 'nothing'}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        mend = "Remove the half of a surrogate pair (\\ud800 to \\udfff) it holds."
        raise DataError(f"{field} is not valid Unicode", where=where, mend=mend) from None
    return value


def _parse_region(item: Any, caption: str, where: str) -> GivenRegion:
    box = item.get("box") if isinstance(item, dict) else None
    if not (isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)):
        raise DataError("box is not four numbers", where=where, mend='Write {"box": [x1, y1, x2, y2]} in pixels.')
    if not (box[0] < box[2] and box[1] < box[3]):
        mend = "Write left, top, right, bottom (not width and height)."
        raise DataError(f"box {box} has no area", where=where, mend=mend)
    span, label = item.get("span"), item.get("label")
    if span is not None and not (
        isinstance(span, list) and len(span) == 2 and all(type(value) is int for value in span)
    ):
        raise DataError("span is not two whole numbers", where=where, mend="Write [start, end) in characters, or null.")
    if span is not None and not 0 <= span[0] < span[1] <= len(caption):
        mend = "Count characters (not bytes or tokens) from 0; the end is exclusive."
        raise DataError(f"span {span} is outside the caption of {len(caption)} characters", where=where, mend=mend)
    if label is not None and not isinstance(label, str):
        raise DataError("label is not a text", where=where, mend="Write the label as a string, or null.")
    x1, y1, x2, y2 = map(float, box)
    return GivenRegion(box=(x1, y1, x2, y2), span=None if span is None else tuple(span), label=label)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False
