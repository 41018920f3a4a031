"""A pairs table without regions and pairs: all that global training reads, at the pace of reading files.

No model takes part, and of an image only the header is read, for its size and for whether it is an image at all; the
pixels are left to training. The one idea: the rows go through the writer of matched ones, so that everything
downstream takes the table as it takes any other. Only losses with a local side have no use for it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastgoal.ahead import look_ahead
from fastgoal.data.images import open_image, upright_size
from fastgoal.data.samples import Sample
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.data.store import ImageStore
from fastgoal.errors import DataError
from fastgoal.matching.judge import MatchReport, expect_usable, summarise
from fastgoal.matching.matcher import Shards
from fastgoal.pairs import Origin, PairsRow, PairsTable, PairsWriter
from fastgoal.progress import Progress

Found = tuple[Sample, Path | bytes | DataError]
"""A sample beside what its image is stored as, or why it is not there."""
SHARD_ROWS = 8192
"""Rows of a shard: rows are small and quickly made again, and a table of a hundred million has to stay a few thousand
files."""


def tabulate(
    source: Source,
    out: str | Path,
    *,
    language: str = "en",
    workers: int = 2,
    shard_rows: int = SHARD_ROWS,
    overwrite: bool = False,
    progress: bool = True,
) -> MatchReport:
    """Write a pairs table of `source` without regions and pairs; run again after an interruption, it continues.

    Args:
        out: folder of the table.
        language: of the captions, for cutting sentences (ISO 639).
        workers: threads that read headers; 0 does all in turn.
        shard_rows: samples per shard: the most that a kill loses.
        overwrite: drop a table that is already in the folder.
        progress: show a bar on standard error.

    Raises:
        DataError: `out` holds a table made differently (or something else), without `overwrite`; no image can be read.
    """
    origin = Origin(data=source.key, settings={"regions": "none", "language": language})
    begin, images, row_of = time.perf_counter(), 0, _Rows(source.images, language)
    with (
        PairsWriter(out, root=source.root, origin=origin, shard_rows=shard_rows, overwrite=overwrite) as writer,
        Progress(len(source), "match", "sample", done=writer.done, show=progress) as bar,
    ):
        for samples in Shards(source, start=writer.done, rows=shard_rows):
            seen = set[str]()
            for row in _rows(samples, row_of, workers):
                writer.add(row)
                seen.add(row.image)
                bar.update()
            images += len(seen)
    table, seconds = PairsTable.open(out), time.perf_counter() - begin
    report = summarise(table, {}, source.problems, images=images, seconds=seconds)
    expect_usable(report, source)
    return report


def _rows(samples: Sequence[Sample], row_of: "_Rows", workers: int, group: int = 64) -> Iterator[PairsRow]:
    """The rows of some samples, in groups: handing one sample to a thread would cost as much as its row."""
    groups = (row_of.found(samples[i : i + group]) for i in range(0, len(samples), group))
    for rows in look_ahead(row_of, groups, workers, ahead=2 * workers):
        yield from rows


@dataclass(frozen=True)
class _Rows:
    """Makes the rows of samples."""

    images: ImageStore
    language: str

    def found(self, samples: Sequence[Sample]) -> list[Found]:
        """Opens the samples' images. For one thread only: a table of images is no place for several."""
        return [(sample, self._open(sample.image)) for sample in samples]

    def __call__(self, found: Sequence[Found]) -> list[PairsRow]:
        return [self._row(sample, raw) for sample, raw in found]

    def _open(self, uri: str) -> Path | bytes | DataError:
        try:
            return self.images.open(uri)
        except DataError as error:
            return error

    def _row(self, sample: Sample, raw: Path | bytes | DataError) -> PairsRow:
        width, height, skip = 0, 0, None
        try:
            if isinstance(raw, DataError):
                raise raw
            width, height = upright_size(open_image(raw, sample.image))
        except DataError as error:
            skip = error.what
        return PairsRow(
            id=sample.id,
            image=sample.image,
            width=width,
            height=height,
            caption=sample.caption,
            sentences=tuple(split_sentences(sample.caption, self.language)),
            skip=skip,
        )
