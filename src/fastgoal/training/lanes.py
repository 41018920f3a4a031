"""The order of an epoch over a table that is larger than memory, or lies elsewhere: lanes through its shards.

A sort over all samples (`order`) reads at random, from every shard at once. Here the shards come in an order that is
chance, and the row sequence they make is cut into a few contiguous lanes of equal length; a lane's rows are shuffled
within blocks. A batch takes equally many rows of every lane. So at any time a few places of the data are open, one per
lane, and samples of far-apart shards still meet in every batch.

The one idea: all of it is arithmetic on the shards' row counts. Nothing is kept between batches, so that a run goes on
in the middle of a shard; the order does not depend on ranks or workers; a lane may begin within a shard, so that there
may be fewer shards than lanes; and the ranks' slices of a batch are lanes of their own.

    shards, permuted   |  7  |  2  |  5  |  0  | ...
    lanes              |---- lane 0 ----|---- lane 1 ----| ...
    blocks of a lane   |~~~~~~|~~~~~~|~~~~|

Shapes: N rows, S shards.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch.utils.data import Sampler

from fastgoal.training.order import Ints, Keys, epoch_order

MOST_LANES = 16
Begun = Callable[[int], None]
"""Told the number of each batch of the epoch before it is given out."""


def lanes_of(batch_size: int) -> int:
    """How many lanes feed batches of this size: the largest divisor that is no more than 16."""
    return max(lanes for lanes in range(1, MOST_LANES + 1) if batch_size % lanes == 0)


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """The rows of an epoch before blocks are shuffled: shard after shard.

    shard_S: the shards in their order. first_S: each one's first row in the table. before_S: how many rows come before
    it in the sequence.
    """

    shard_S: Ints
    first_S: Ints
    before_S: Ints
    rows: int

    @classmethod
    def of(cls, rows_S: Ints, seed: int, epoch: int) -> "Sequenced":
        """The sequence of an epoch, of shards with so many rows each."""
        shard_S = epoch_order(np.arange(len(rows_S), dtype=np.uint64), seed, epoch)
        first_S = np.cumsum(rows_S) - rows_S
        before_S = np.cumsum(rows_S[shard_S]) - rows_S[shard_S]
        return cls(shard_S=shard_S, first_S=first_S[shard_S], before_S=before_S, rows=int(rows_S.sum()))

    def table_rows(self, start: int, stop: int) -> Ints:
        """The table's rows at places `start` to `stop` of the sequence."""
        place_N = np.arange(start, stop)
        at_N = np.searchsorted(self.before_S, place_N, side="right") - 1
        return self.first_S[at_N] + place_N - self.before_S[at_N]


class LaneBatches(Sampler[list[int]]):
    """Batches of rows for one epoch after another; `set_epoch` says which. Every row comes once.

    A last batch of a single row is dropped (it has no negatives); shorter ones are kept. Memory: a block per lane.

    Args:
        shard_rows: rows of each shard of the table.
        block: rows within which a lane is shuffled.
        begun: told of every batch.
    """

    def __init__(
        self, shard_rows: Sequence[int], *, batch_size: int, seed: int, block: int, begun: Begun | None = None
    ) -> None:
        self._rows_S = np.array(shard_rows, dtype=np.int64)
        self._batch_size, self._seed, self._epoch, self.block = batch_size, seed, 0, block
        self.lanes = lanes_of(batch_size)
        self.each, self.begun = batch_size // self.lanes, begun

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(int(self._rows_S.sum()), self._batch_size)
        return full + (rest > 1)

    def __iter__(self) -> Iterator[list[int]]:
        sequence, epoch = self.sequence(), self._epoch  # the next epoch may be set before this one is through
        lanes = [self._lane(sequence, lane, epoch) for lane in range(self.lanes)]
        for number in range(len(self)):
            if self.begun is not None:
                self.begun(number)
            yield [row for lane in lanes for row in islice(lane, self.each)]

    def sequence(self) -> Sequenced:
        """What this epoch's lanes are cut from."""
        return Sequenced.of(self._rows_S, self._seed, self._epoch)

    def bounds(self, lane: int) -> tuple[int, int]:
        """Where a lane begins and ends in the sequence."""
        rows = int(self._rows_S.sum())
        return lane * rows // self.lanes, (lane + 1) * rows // self.lanes

    def blocks(self, lane: int) -> Iterator[tuple[int, int]]:
        """A lane's blocks, as places in the sequence."""
        start, stop = self.bounds(lane)
        for begin in range(start, stop, self.block):
            yield begin, min(begin + self.block, stop)

    def _lane(self, sequence: Sequenced, lane: int, epoch: int) -> Iterator[int]:
        for start, stop in self.blocks(lane):
            row_N = sequence.table_rows(start, stop)
            key_N: Keys = row_N.astype(np.uint64)
            yield from row_N[epoch_order(key_N, self._seed, epoch)].tolist()
