"""Samples: one image with its caption and a stable id, read from whatever shape the user's data has.

`open_source` sniffs the data and returns a `Source`: an ordered collection of samples plus the root their images lie
under. Two shapes are read: a folder of images with same-named `.txt` files, and a `captions.jsonl` with one JSON object
per line,

    {"id": "a17", "image": "images/a17.jpg", "caption": "...", "regions": [{"box": [x1, y1, x2, y2], "span": [s, e]}]}

where `id` (default: the image's path) and `regions` are optional and several lines may share one image. Readers yield
either a sample or the `DataError` that stands in its place, so that one pass can stop at the first problem (strict) or
list them all (a check).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any

from fastgoal.errors import DataError
from fastgoal.geometry import Box

Span = tuple[int, int]
"""Half-open character span `[start, end)` of a caption."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
CAPTIONS_FILE = "captions.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenRegion:
    """A box that came with the data; `span` says which characters of the caption it is the truth of."""

    box: Box
    span: Span | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image with its caption. `image` is a URI relative to the source's root (see the data contract)."""

    id: str
    image: str
    caption: str
    regions: tuple[GivenRegion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """An ordered collection of samples and the folder their images lie under.

    name: for people (reports, manifests); root: folder that every `Sample.image` is relative to; problems: what was
    left out, filled only when opened with `strict=False`.
    """

    name: str
    root: Path
    samples: tuple[Sample, ...]
    problems: tuple[DataError, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def image_path(self, sample: Sample) -> Path:
        return self.root / sample.image

    @cached_property
    def key(self) -> str:
        """Content fingerprint: every sample's fields in order, and its image's size in bytes (pixels are not read)."""
        digest = hashlib.sha256()
        for sample in self.samples:
            path = self.image_path(sample)
            size = path.stat().st_size if path.is_file() else -1
            digest.update(json.dumps([asdict(sample), size], sort_keys=True).encode())
        return digest.hexdigest()[:16]


def open_source(
    data: str | Path, *, root: str | Path | None = None, limit: int | None = None, strict: bool = True
) -> Source:
    """Open the user's data: a folder of images with same-named `.txt` files, or a folder (or file) of JSON lines.

    Args:
        root: folder that image paths are relative to; default: the data folder itself.
        limit: keep the first samples only.
        strict: raise at the first problem; otherwise leave broken entries out and list them in `Source.problems`.

    Raises:
        DataError: nothing usable is there, an entry is broken (strict), or no image lies under the root.
    """
    path = Path(data)
    if not path.exists():
        raise DataError("no such file or folder", where=path, mend="Check the spelling of the data's path.")
    lines = path if path.is_file() else path / CAPTIONS_FILE
    if path.is_file() and path.suffix != ".jsonl":
        raise DataError("not a kind of data that can be read", where=path, mend=_EXPECTED)
    folder = path.parent if path.is_file() else path
    found = _read_lines(lines) if lines.is_file() else _read_folder(path)
    samples, problems = _sort_out(found, limit, strict)
    if not samples:
        raise DataError("no usable sample here", where=path, mend=str(problems[0]) if problems else _EXPECTED)
    source = Source(
        name=path.resolve().name, root=Path(root) if root is not None else folder, samples=samples, problems=problems
    )
    _check_root(source)
    return source


_EXPECTED = (
    f"Give a folder of images with same-named .txt files, or a folder with {CAPTIONS_FILE} "
    '(one {"image": "...", "caption": "..."} per line).'
)


def _sort_out(
    found: Iterable[Sample | DataError], limit: int | None, strict: bool
) -> tuple[tuple[Sample, ...], tuple[DataError, ...]]:
    samples: list[Sample] = []
    problems: list[DataError] = []
    for item in found:
        if limit is not None and len(samples) >= limit:
            break
        if isinstance(item, Sample):
            samples.append(item)
        elif strict:
            raise item
        else:
            problems.append(item)
    return tuple(samples), tuple(problems)


def _check_root(source: Source, probe: int = 20) -> None:
    """One missing image is skipped and counted later; none at all means a wrong root, said before hours of work."""
    if not any(source.image_path(sample).is_file() for sample in islice(source, probe)):
        first = source.image_path(source.samples[0])
        raise DataError(
            "no image is where the data says", where=first, mend="Say where the images lie with --root DIR."
        )


def _read_folder(folder: Path) -> Iterator[Sample | DataError]:
    """Images in the order of their paths; an image without a caption file is a problem, other files are ignored."""
    relative = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    for image in sorted(path.as_posix() for path in relative if not any(part.startswith(".") for part in path.parts)):
        text = (folder / image).with_suffix(".txt")
        if not text.is_file():
            yield DataError("image without a caption", where=folder / image, mend=f"Write its caption to {text.name}.")
            continue
        try:
            caption = text.read_text(encoding="utf-8-sig").strip()
        except UnicodeDecodeError as error:
            yield DataError(f"not UTF-8 at byte {error.start}", where=text, mend="Save the file as UTF-8.")
            continue
        if caption:
            yield Sample(id=image, image=image, caption=caption)
        else:
            yield DataError("the caption is empty", where=text, mend="Write a caption or remove the image.")


def _read_lines(file: Path) -> Iterator[Sample | DataError]:
    """One sample per line. Lines end at LF only: JSON strings may hold U+2028, which `str.splitlines` would cut at."""
    first_line: dict[str, int] = {}
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            where = f"{file}:{number}"
            try:
                sample = parse_sample(_decode(raw, where), where)
            except DataError as error:
                yield error
                continue
            if not sample.id:
                sample = replace(sample, id=_unused(sample.image, first_line))
            if sample.id in first_line:
                mend = "Give every line its own id, or none."
                yield DataError(f"id {sample.id!r} was used in line {first_line[sample.id]}", where=where, mend=mend)
                continue
            first_line[sample.id] = number
            yield sample


def _unused(image: str, used: dict[str, int]) -> str:
    """The default id: the image's path, numbered from the second caption of one image on."""
    number, candidate = 1, image
    while candidate in used:
        number += 1
        candidate = f"{image}#{number}"
    return candidate


def _decode(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start}", where=where, mend="Save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        mend = "Write one complete JSON object per line."
        raise DataError(f"not JSON at column {error.colno}: {error.msg}", where=where, mend=mend) from None


def parse_sample(record: Any, where: str) -> Sample:
    """Check one record of the data contract. The id stays empty where none is given."""
    if not isinstance(record, dict):
        raise DataError("not a JSON object", where=where, mend='Write {"image": "...", "caption": "..."}.')
    image, caption = _text(record, "image", where), _text(record, "caption", where)
    if image.startswith("/") or PureWindowsPath(image).is_absolute() or "://" in image:
        mend = "Make it relative to a folder and name that folder with --root."
        raise DataError(f"image {image!r} is not a relative path", where=where, mend=mend)
    given = record.get("regions") or []
    if not isinstance(given, list):
        raise DataError("regions is not a list", where=where, mend='Write [{"box": [x1, y1, x2, y2]}, ...].')
    regions = tuple(_parse_region(item, caption, f"{where} regions[{i}]") for i, item in enumerate(given))
    sample_id = record.get("id")
    if sample_id is not None and not isinstance(sample_id, str | int):
        raise DataError("id is neither text nor a whole number", where=where, mend="Write the id as a string.")
    return Sample(id="" if sample_id is None else str(sample_id), image=image, caption=caption, regions=regions)


def _text(record: dict[str, Any], field: str, where: str) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        state = "missing" if value is None else "empty" if value == "" else "not a text with content"
        raise DataError(f"{field} is {state}", where=where, mend=f"This line has: {', '.join(record) or 'nothing'}.")
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
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
