from collections import Counter
from itertools import chain, combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.bench.workload import docci_lengths
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


def lengths_like_docci(count: int) -> np.ndarray:
    """Tokens of captions of DOCCI's test set, cut at 248, in random order."""
    tokens = [min(sum(own) + 2, 248) for own in docci_lengths()]
    return np.random.default_rng(0).permutation(np.resize(tokens, count))


def waste(lengths: np.ndarray, batches: list[list[int]]) -> float:
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / padded


def sampler_of(lengths: np.ndarray | None, batch_size: int, window: int, count: int = 5100) -> EpochBatches:
    keys = hash_keys(f"sample-{number}" for number in range(count))
    return EpochBatches(keys, keys, batch_size=batch_size, seed=0, length_N=lengths, window=window)


def test_windows_leave_under_a_tenth_of_padding() -> None:
    for batch_size, count in ((8, 5100), (16, 5100), (64, 5100), (256, 20_000)):
        lengths = lengths_like_docci(count)
        assert waste(lengths, list(sampler_of(lengths, batch_size, 1, count))) > 0.25
        assert waste(lengths, list(sampler_of(lengths, batch_size, 16, count))) < 0.1


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 90), st.integers(2, 7), st.integers(2, 5), st.integers(0, 3))
def test_windows_hold_every_sample_once(count: int, batch_size: int, window: int, epoch: int) -> None:
    lengths = np.random.default_rng(count).integers(5, 248, count)
    sampler = sampler_of(lengths, batch_size, window, count)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    dropped = count % batch_size == 1
    assert len(batches) == len(sampler)
    assert len({position for batch in batches for position in batch}) == count - dropped
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_a_window_holds_the_samples_that_chance_put_there() -> None:
    lengths = lengths_like_docci(500)
    plain, windowed = list(sampler_of(None, 10, 1, 500)), list(sampler_of(lengths, 10, 5, 500))
    for start in range(0, 50, 5):
        assert set(chain(*plain[start : start + 5])) == set(chain(*windowed[start : start + 5]))


def test_batches_of_a_window_do_not_come_by_length() -> None:
    lengths = lengths_like_docci(4096)
    means = np.array([lengths[batch].mean() for batch in sampler_of(lengths, 16, 16, 4096)]).reshape(16, 16)
    ranks = np.argsort(np.argsort(means, axis=1), axis=1)
    drift = np.corrcoef(ranks.ravel(), np.tile(np.arange(16), 16))[0, 1]
    assert abs(drift) < 0.2  # 256 independent draws: 0 with a spread of 0.06


def test_other_neighbours_meet_in_every_epoch_however_few_samples_there_are() -> None:
    lengths = lengths_like_docci(96)
    sampler = sampler_of(lengths, 8, 16, 96)
    meetings = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        meetings.append({frozenset(pair) for batch in sampler for pair in combinations(batch, 2)})
    again = [len(a & b) / len(a) for a, b in combinations(meetings, 2)]
    assert max(again) < 0.25  # 7 of 95 by chance


def test_windows_depend_on_ids_and_not_on_rows() -> None:
    lengths, moved = lengths_like_docci(200), np.random.default_rng(2).permutation(200)
    keys = hash_keys(NAMES)
    straight = EpochBatches(keys, keys, batch_size=16, seed=3, length_N=lengths, window=4)
    other = EpochBatches(keys[moved], keys[moved], batch_size=16, seed=3, length_N=lengths[moved], window=4)
    assert [{NAMES[i] for i in batch} for batch in straight] == [{NAMES[moved[i]] for i in batch} for batch in other]


def test_twins_stay_apart_in_windows() -> None:
    images = np.repeat(np.arange(200, dtype=np.uint64), 5)
    keys, lengths = hash_keys(f"caption-{number}" for number in range(1000)), lengths_like_docci(1000)
    batches = list(EpochBatches(keys, images, batch_size=16, seed=0, length_N=lengths, window=8))
    twins = [max(Counter(images[batch].tolist()).values()) for batch in batches]
    assert twins.count(1) >= len(twins) - 3
