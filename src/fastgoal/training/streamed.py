"""A pairs table as it streams by: rows read in the order of lanes, with their shards fetched ahead.

Nothing is known of a row before it is met, so that memory does not grow with the table: rows that cannot be used are
dropped from their batch (see `Collator`), decoded shards of the table are few, and what lies in object storage is
fetched by a thread, a block of every lane ahead of its use, into a shelf that holds a limit.
"""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from torch.utils.data import Dataset

from fastgoal.ahead import look_ahead
from fastgoal.errors import FastgoalError
from fastgoal.pairs import PairsRow, PairsTable
from fastgoal.remote.place import Place, Url
from fastgoal.remote.shelf import local
from fastgoal.training.batches import expect_usable
from fastgoal.training.lanes import LaneBatches
from fastgoal.training.order import share

FETCHERS = 4
"""Files that are fetched at once."""


class StreamedPairs(Dataset[PairsRow]):
    """All rows of a pairs table by their number. Its length is that of the usable ones, as the table counts them.

    Args:
        batches: what it is read by; says how many shards are in use at once.
        paired_only: rows without a local pair are of no use.

    Raises:
        DataError: fewer than two usable rows.
    """

    def __init__(self, table: PairsTable, batches: LaneBatches, *, paired_only: bool = False) -> None:
        counts = table.manifest.counts
        readable = counts["samples"] - counts["skipped"]
        self._usable = counts["paired"] if paired_only else readable
        expect_usable(self._usable, table, paired_only)
        self.unpaired = 0 if paired_only else readable - counts["paired"]
        self.batches = batches
        self.table = table.keeping(batches.lanes * shards_of(batches.block, table))

    def __len__(self) -> int:
        return self._usable

    def __getstate__(self) -> dict[str, Any]:
        """A worker process is told what to read."""
        return {**vars(self), "batches": None}

    def __getitem__(self, row: int) -> PairsRow:
        return self.table[row]

    @property
    def fingerprint(self) -> str:
        """That of the table."""
        return self.table.fingerprint


def shards_of(block: int, table: PairsTable) -> int:
    """How many of the table's shards a block lies in at most, if they are all of one size."""
    return math.ceil(block * len(table.manifest.shards) / max(1, len(table))) + 1


class FetchAhead:
    """Fetches what one rank will read next, in a thread; hang `begun` on its `LaneBatches`.

    While the batches of a block are used, it fetches the next block of every lane of the rank: shards of the table, and
    the files that hold the images. What cannot be fetched is passed over here, since the step that needs it will say.
    """

    def __init__(self, table: PairsTable, batches: LaneBatches, rank: int = 0, ranks: int = 1) -> None:
        self._table, self._batches, self._pool = table.keeping(1), batches, ThreadPoolExecutor(1, "fetch ahead")
        own = share(batches.lanes * batches.each, rank, ranks)
        self._lanes = range(own.start // batches.each, -(-own.stop // batches.each))
        self._block, self._job = -1, Future[None]()

    def begun(self, batch: int) -> None:
        """Batch number `batch` of the epoch is about to be made."""
        block = batch * self._batches.each // self._batches.block
        if batch == 0 or block != self._block:
            self._job.cancel()  # a run that goes on passes over many blocks at once
            self._block = block
            self._job = self._pool.submit(self._fetch, block)

    def close(self) -> None:
        """Give up what is not fetched yet."""
        self._block = -1
        self._pool.shutdown(wait=False, cancel_futures=True)

    def settle(self) -> None:
        """Returns when what was asked for is here."""
        self._job.exception()

    def _fetch(self, block: int) -> None:
        for _ in look_ahead(_attempt, self._files(block), FETCHERS, ahead=FETCHERS):
            if block != self._block:
                return

    def _files(self, block: int) -> Iterator[Place]:
        """Of this block of every lane, then of the next."""
        sequence, seen = self._batches.sequence(), set[Place]()
        for number in (block, block + 1):
            for lane in self._lanes:
                start, stop = self._batches.bounds(lane)
                start += number * self._batches.block
                if start < stop:
                    rows = sequence.table_rows(start, min(start + self._batches.block, stop)).tolist()
                    for file in self._table.files(rows):
                        if isinstance(file, Url) and file not in seen:
                            seen.add(file)
                            yield file


@contextmanager
def fetching(dataset: object, rank: int, ranks: int) -> Iterator[None]:
    """Inside, what a rank reads of a streamed table is fetched ahead, if it lies elsewhere."""
    if not isinstance(dataset, StreamedPairs) or not any(
        isinstance(place, Url) for place in (dataset.table.folder, dataset.table.root)
    ):
        yield
        return
    ahead = FetchAhead(dataset.table, dataset.batches, rank, ranks)
    dataset.batches.begun = ahead.begun
    try:
        yield
    finally:
        dataset.batches.begun = None
        ahead.close()


def _attempt(file: Place) -> None:
    with suppress(FastgoalError, OSError):
        local(file)
