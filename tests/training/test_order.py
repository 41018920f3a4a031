from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.training.order import EpochBatches, epoch_order, hash_keys, spread_twins

NAMES = [f"sample-{number}" for number in range(200)]


def test_order_is_of_ids_not_of_rows() -> None:
    shuffled = np.random.default_rng(0).permutation(NAMES).tolist()
    straight = [NAMES[i] for i in epoch_order(hash_keys(NAMES), 7, 3)]
    assert straight == [shuffled[i] for i in epoch_order(hash_keys(shuffled), 7, 3)]
    assert sorted(straight) == sorted(NAMES)


def test_order_changes_with_seed_and_epoch_and_is_unlike_its_neighbours() -> None:
    orders = np.array([epoch_order(hash_keys(NAMES), seed, epoch) for seed in (0, 1) for epoch in range(10)])
    assert len({tuple(order) for order in orders}) == 20
    # The mean rank correlation of independent orders of 200 is 0 with a spread of 0.07 per pair.
    ranks = np.argsort(orders, axis=1)
    off_diagonal = np.corrcoef(ranks)[~np.eye(20, dtype=bool)]
    assert abs(off_diagonal.mean()) < 0.03
    assert abs(off_diagonal).max() < 0.4


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=80), st.integers(2, 7))
def test_batches_hold_every_sample_once_and_all_but_the_last_are_full(images: list[int], batch_size: int) -> None:
    order = np.random.default_rng(len(images)).permutation(len(images))
    batches = spread_twins(order, np.array(images, dtype=np.uint64), batch_size)
    assert sorted(position for batch in batches for position in batch) == list(range(len(images)))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_five_captions_per_image_never_meet_except_at_the_very_end() -> None:
    images = np.repeat(np.arange(60, dtype=np.uint64), 5)
    batches = spread_twins(np.random.default_rng(1).permutation(300), images, 16)
    twins = [max(Counter(images[batch].tolist()).values()) for batch in batches]
    assert set(twins[:-3]) == {1}


def test_one_image_only_is_still_cut_into_batches() -> None:
    batches = spread_twins(np.arange(10), np.zeros(10, dtype=np.uint64), 4)
    assert [len(batch) for batch in batches] == [4, 4, 2]


def test_a_last_batch_of_one_is_dropped_and_other_short_ones_are_kept() -> None:
    for count, expected in ((9, [4, 4]), (10, [4, 4, 2]), (8, [4, 4]), (3, [3])):
        keys = hash_keys(NAMES[:count])
        sampler = EpochBatches(keys, keys, batch_size=4, seed=0)
        assert [len(batch) for batch in sampler] == expected
        assert len(sampler) == len(expected)


def test_set_epoch_gives_the_order_of_that_epoch() -> None:
    keys = hash_keys(NAMES)
    sampler = EpochBatches(keys, keys, batch_size=16, seed=5)
    sampler.set_epoch(4)
    assert [position for batch in sampler for position in batch] == epoch_order(keys, 5, 4).tolist()
