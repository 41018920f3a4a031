"""The order of lanes against a slow, obvious version; every row once; near in the data, far in the batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.training.lanes import LaneBatches, lanes_of
from fastgoal.training.order import Slices, epoch_order


def obvious(shard_rows: list[int], batch_size: int, seed: int, epoch: int, block: int) -> list[list[int]]:
    """The same from a list of all rows."""
    starts = [sum(shard_rows[:number]) for number in range(len(shard_rows))]
    sequence: list[int] = []
    for shard in epoch_order(np.arange(len(shard_rows), dtype=np.uint64), seed, epoch).tolist():
        sequence += range(starts[shard], starts[shard] + shard_rows[shard])
    count = lanes_of(batch_size)
    lanes = []
    for number in range(count):
        lane = sequence[number * len(sequence) // count : (number + 1) * len(sequence) // count]
        mixed: list[int] = []
        for start in range(0, len(lane), block):
            rows = np.array(lane[start : start + block], dtype=np.uint64)
            mixed += rows[epoch_order(rows, seed, epoch)].tolist()
        lanes.append(mixed)
    batches = []
    while any(lanes):
        batches.append([row for lane in lanes for row in lane[: batch_size // count]])
        lanes = [lane[batch_size // count :] for lane in lanes]
    return batches if len(batches[-1]) > 1 else batches[:-1]


def sampler(shard_rows: list[int], batch_size: int = 6, block: int = 5, seed: int = 3, epoch: int = 0) -> LaneBatches:
    batches = LaneBatches(shard_rows, batch_size=batch_size, seed=seed, block=block)
    batches.set_epoch(epoch)
    return batches


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=9),
    st.integers(2, 40),
    st.integers(1, 12),
    st.integers(0, 3),
)
def test_batches_are_those_of_the_obvious_version(rows: list[int], batch_size: int, block: int, epoch: int) -> None:
    batches = sampler(rows, batch_size, block, epoch=epoch)
    found = list(batches)
    assert found == (obvious(rows, batch_size, 3, epoch, block) if sum(rows) > 1 else [])
    assert len(found) == len(batches)
    assert [len(batch) for batch in found[:-1]] == [batch_size] * (len(found) - 1)
    all_rows = [row for batch in found for row in batch]
    dropped = sum(rows) % batch_size == 1
    assert len(set(all_rows)) == len(all_rows) == sum(rows) - dropped


@pytest.mark.parametrize(
    ("batch_size", "lanes"), [(2, 2), (16, 16), (32, 16), (24, 12), (17, 1), (34, 2), (100, 10), (4096, 16)]
)
def test_lanes_divide_the_batch(batch_size: int, lanes: int) -> None:
    assert lanes_of(batch_size) == lanes


def test_seeds_and_epochs_give_other_orders() -> None:
    orders = {str(list(sampler([7] * 30, seed=seed, epoch=epoch))) for seed in (0, 1) for epoch in range(5)}
    assert len(orders) == 10


def test_a_batch_comes_from_far_apart_and_a_lane_from_one_place() -> None:
    """Few shards are open at a time, and the rows of a batch are no neighbours."""
    rows = [100] * 160
    batches = list(sampler(rows, batch_size=32, block=200))
    for start in range(0, len(batches), 50):
        window = batches[start : start + 50]
        assert len({row // 100 for batch in window for row in batch}) <= 16 * (200 // 100 + 2)
        assert all(len({row // 100 for row in batch}) >= 16 for batch in window)
    gaps = np.abs(np.diff([batch[0] for batch in batches[:100]]))
    assert np.median(gaps) > 20  # within a block of 200: two rows at random are 67 apart on average


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_rank_reads_lanes_of_its_own(ranks: int) -> None:
    rows, parts = [50] * 40, []
    for rank in range(ranks):
        parts.append(list(Slices(sampler(rows, batch_size=32, block=20), rank, ranks)))
    whole = list(sampler(rows, batch_size=32, block=20))
    assert [[row for part in parts for row in part[number]] for number in range(len(whole))] == whole
    full = [{row // 50 for batch in part[:-1] for row in batch} for part in parts]
    shared = sum(map(len, full)) - len(set().union(*full))
    assert shared <= ranks - 1  # a shard that is cut where two ranks meet


def test_an_epoch_of_a_hundred_million_rows_begins_at_once_and_in_little_memory() -> None:
    import tracemalloc

    tracemalloc.start()
    batches = LaneBatches([4096] * 25_000, batch_size=4096, seed=0, block=1024)
    first = next(iter(batches))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) == len(set(first)) == 4096
    assert len(batches) == 25_000
    assert peak < 8 * 2**20  # the rows' positions alone would be 800 MB


def test_every_batch_is_told_before_it_is_given_out() -> None:
    told: list[int] = []
    batches = LaneBatches([9], batch_size=3, seed=0, block=4, begun=told.append)
    assert [told[-1] for _ in batches] == [0, 1, 2]
