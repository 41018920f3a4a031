"""DOCCI: 15k photos, each with a human description of 136 words on average (Onoe et al., 2024).

    docci_descriptions.jsonlines   {"example_id", "split", "image_file", "description"} per line
    images/                        test_00000.jpg, qual_test_00000.jpg, train_00000.jpg, ...

Splits: `train` (9,647), `test`, `qual_dev` (100). `test` is the test set of both GOAL papers: 5,000 of the published
split `test` and 100 of `qual_test`, together 5,100; GOAL's released list names the same files.

Looked up: the fields and files on the publisher's page, the sizes in GOAL's paper and list.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastgoal.data.benchmarks.common import entry, find
from fastgoal.data.readers.lines import decode_line
from fastgoal.data.samples import Sample
from fastgoal.errors import DataError

DESCRIPTIONS, IMAGES = "docci_descriptions.jsonlines", "images"
SPLITS = {"test": ("test", "qual_test"), "train": ("train",), "qual_dev": ("qual_dev",)}
_PUBLISHED = frozenset(part for parts in SPLITS.values() for part in parts)


@dataclass(frozen=True, kw_only=True)
class DocciReader:
    """The records of some published splits in the file's order. `folder` is relative to the root."""

    root: Path
    folder: Path
    parts: tuple[str, ...]

    def __iter__(self) -> Iterator[Sample | DataError]:
        file = self.folder / DESCRIPTIONS
        images = (self.folder / IMAGES).relative_to(self.root)
        with file.open("rb") as lines:
            for number, raw in enumerate(lines, start=1):
                where = f"{file}:{number}"
                try:
                    record = decode_line(raw, where) if raw.strip() else {}
                    part = _part(record, where) if record != {} else None
                except DataError as error:
                    yield error
                    continue
                if part in self.parts:
                    image = f"{images.as_posix()}/{record.get('image_file') or ''}"
                    fields = {"id": record.get("example_id"), "image": image, "caption": record.get("description")}
                    yield entry(fields, where, self.root)


def _part(record: object, where: str) -> str:
    """The published split of a record."""
    part = record.get("split") if isinstance(record, dict) else None
    if part not in _PUBLISHED:
        raise DataError(f"split is {part!r}", where=where, mend=f"It is one of {', '.join(sorted(_PUBLISHED))}.")
    return str(part)


def read(root: Path, split: str) -> DocciReader:
    """The reader of a split (see `SPLITS`)."""
    folder = find(root, DESCRIPTIONS, "docci")
    find(folder, IMAGES)
    return DocciReader(root=root, folder=folder, parts=SPLITS[split])
