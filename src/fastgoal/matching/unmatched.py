"""A pairs table without matching: rows with sentences, but without regions and pairs, for training on whole images and
captions alone.

No model is loaded and no image is opened, so that width and height are 0 (unknown), and a broken image is met, and left
out, by training. What is left is reading captions and cutting sentences: thousands of rows a second.
"""

import time
from pathlib import Path

from fastgoal.data.samples import Sample
from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.matching.judge import MatchReport, summarise
from fastgoal.pairs import Origin, PairsRow, PairsTable, PairsWriter
from fastgoal.progress import Progress

SHARD_ROWS = 4096
"""Rows are made so fast that a kill loses a second, and a manifest of 100 million rows stays small."""


def list_unmatched(
    source: Source,
    out: str | Path,
    *,
    language: str = "en",
    shard_rows: int = SHARD_ROWS,
    overwrite: bool = False,
    progress: bool = True,
) -> MatchReport:
    """Write the table of `source` to the folder `out`; run again after an interruption, it continues.

    Args:
        language: of the captions, for cutting sentences (ISO 639).
        shard_rows: samples per shard.
        overwrite: drop a table that is already in the folder.

    Raises:
        DataError: `out` holds a table made differently (or something else), without `overwrite`.
    """
    origin, begin = Origin(data=source.key, settings={"regions": "none", "language": language}), time.perf_counter()
    with PairsWriter(out, root=source.root, origin=origin, shard_rows=shard_rows, overwrite=overwrite) as writer:
        done = writer.done
        with Progress(len(source), "match", "sample", done=done, show=progress) as bar:
            for number, sample in enumerate(source):
                if number >= done:
                    writer.add(_row(sample, language))
                    bar.update()
    seconds, table = time.perf_counter() - begin, PairsTable.open(out, keep=1)
    return summarise(table, {}, source.problems, images=len(table) - done, seconds=seconds)


def _row(sample: Sample, language: str) -> PairsRow:
    return PairsRow(
        id=sample.id,
        image=sample.image,
        width=0,
        height=0,
        caption=sample.caption,
        sentences=tuple(split_sentences(sample.caption, language)),
    )
