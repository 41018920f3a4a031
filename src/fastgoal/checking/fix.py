"""The clean table: what can be used of a data set, written beside it; the data itself is never touched.

Images stay where they are and are named relative to the new table. What is left out is written down with the reason.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from fastgoal.checking.audit import Audit
from fastgoal.checking.captions import CONTROL, clean
from fastgoal.checking.ledger import BROKEN, UNSEEN
from fastgoal.checking.pictures import look, place_of
from fastgoal.data.samples import GivenRegion, Sample, Span
from fastgoal.data.source import Source
from fastgoal.data.store import ImageStore
from fastgoal.errors import ConfigError, DataError
from fastgoal.files import ASIDE, staged, writing
from fastgoal.geometry import area, clip_box
from fastgoal.progress import Progress
from fastgoal.remote.place import Url

TABLE, LEFT_OUT = "captions.jsonl", "left-out.jsonl"
_CUT_SHORT = {TABLE + ASIDE, LEFT_OUT, LEFT_OUT + ASIDE}
"""What a fix that was killed leaves, and no more than that: the table takes its place last."""


@dataclass(frozen=True, kw_only=True)
class FixReport:
    """What was written: samples kept, of them changed (trimmed, control characters replaced, boxes cut or dropped), and
    records left out."""

    kept: int
    changed: int
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def write_fix(found: Audit, out: str | Path, progress: bool = True) -> FixReport:
    """Write `out/captions.jsonl`, which `fastgoal run` takes, and `out/left-out.jsonl`.

    Args:
        found: an audit that opened every image.
        out: a new or an empty folder, or one in which a fix was cut short.

    Raises:
        ConfigError: images that were not opened, or a folder that holds something else.
        DataError: the disk refuses.
    """
    folder = Path(out)
    refuse_taken(folder)
    if isinstance(found.source.root, Url):
        mend = "Copy the data to this machine, or leave --fix out."
        raise ConfigError("the clean table names images on this machine", where="--fix", mend=mend)
    if (found.ledger.state_U == UNSEEN).any():
        raise ConfigError("not every image was opened", where="--fix", mend="Leave --images out.")
    kept = changed = left = 0
    bar = Progress(len(found.source), "fix", "sample", show=progress)
    with bar, _lines(folder, TABLE) as table, _lines(folder, LEFT_OUT) as rest:
        for entry, before in _sorted_out(found):
            if isinstance(entry, DataError):
                left += 1
                _write(rest, {"where": entry.where, "what": entry.what, "mend": entry.mend})
            else:
                kept += 1
                bar.update()
                changed += entry != before
                _write(table, _record(entry, found.source.images, folder.resolve()))
    return FixReport(kept=kept, changed=changed, left_out=left)


def refuse_taken(folder: Path) -> None:
    """Raises ConfigError if something is already there: nothing finished is ever written over."""
    if folder.exists() and (not folder.is_dir() or any(path.name not in _CUT_SHORT for path in folder.iterdir())):
        raise ConfigError("something is there already", where=folder, mend="Choose a new folder for --fix.")


def _sorted_out(found: Audit) -> Iterator[tuple[Sample | DataError, Sample | None]]:
    """Every record in order: the mended sample with what it was before, or why it is left out."""
    ledger, number = found.ledger, -1
    twin_N = ledger.twin_N
    for entry in found.source.checked():
        if isinstance(entry, DataError):
            yield entry, None
            continue
        number += 1
        image = int(ledger.image_N[number])
        if ledger.state_U[image] == BROKEN:
            yield _problem(entry, found.source), entry
        elif twin_N[number]:
            mend = "Nothing is lost; keep one of the two."
            yield DataError("an earlier sample has the same image and caption", where=entry.where, mend=mend), entry
        elif not clean(entry.caption):
            mend = "Write a caption or remove the image."
            yield DataError("the caption is only control characters", where=entry.where, mend=mend), entry
        else:
            yield mended(entry, *ledger.size_U2[image].tolist()), entry


def _problem(sample: Sample, source: Source) -> DataError:
    """Why its image cannot be used: broken images are few, so they are opened again rather than remembered."""
    try:
        problem = look(source.images.open(sample.image), place_of(sample)).problem
    except DataError as error:
        problem = DataError(error.what, where=place_of(sample), mend=error.mend)
    return problem or DataError("the image was broken when it was looked at", where=place_of(sample))


def mended(sample: Sample, width: int, height: int) -> Sample:
    """A sample with its caption trimmed (control characters become spaces, so that spans keep their places) and its
    boxes cut to the image of `width` x `height` pixels; boxes wholly outside are dropped."""
    caption = clean(sample.caption)
    start = CONTROL.sub(" ", sample.caption).find(caption)
    regions = tuple(
        GivenRegion(box=box, span=_moved(region.span, start, len(caption)), label=region.label)
        for region in sample.regions
        if area(box := clip_box(region.box, width, height)) > 0
    )
    return Sample(id=sample.id, image=sample.image, caption=caption, regions=regions, where=sample.where)


def _moved(span: Span | None, by: int, length: int) -> Span | None:
    """A span after `by` characters were cut off before it; None if nothing of it is left."""
    if span is None:
        return None
    start, end = max(span[0] - by, 0), min(span[1] - by, length)
    return (start, end) if start < end else None


def _record(sample: Sample, images: ImageStore, folder: Path) -> dict[str, Any]:
    opened = images.open(sample.image)
    place = opened if isinstance(opened, Path) else Path(images.root / sample.image)
    image = Path(os.path.relpath(place.parent.resolve() / place.name, folder)).as_posix()
    record: dict[str, Any] = {"id": sample.id, "image": image, "caption": sample.caption}
    if sample.regions:
        record["regions"] = [
            {"box": region.box, "span": region.span} | ({"label": region.label} if region.label is not None else {})
            for region in sample.regions
        ]
    return record


@contextmanager
def _lines(folder: Path, name: str) -> Iterator[IO[str]]:
    """A file of lines that takes its place when all are written."""
    with writing(folder / name):
        folder.mkdir(parents=True, exist_ok=True)
        with staged(folder / name) as aside, aside.open("w", encoding="utf-8", newline="\n") as lines:
            yield lines


def _write(lines: IO[str], record: dict[str, Any]) -> None:
    lines.write(json.dumps(record, ensure_ascii=False) + "\n")
