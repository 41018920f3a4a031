"""Metrics against ir-measures, against an obvious version with ties, and on hand-made matrices."""

import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, Success

from fastgoal.errors import DataError, ModelError
from fastgoal.evaluation import metrics
from fastgoal.evaluation.metrics import (
    average_precision,
    bootstrap_ci,
    first_relevant_rank,
    paired_bootstrap,
    recall_at,
    relevant_ranks,
)


def obvious_ap(scores, relevant, k):
    """Sort with wrong items first among equal scores, and walk down."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], relevant[i]))
    hits, total = 0, 0.0
    for position, item in enumerate(order[:k], start=1):
        if relevant[item]:
            hits += 1
            total += hits / position
    return total / sum(relevant)


def obvious_rank(scores, relevant):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], relevant[i]))
    return 1 + [relevant[i] for i in order].index(True)


def problem(rng, queries, items, groups, dims, whole_numbers=False):
    draw = (lambda *shape: rng.integers(-1, 2, shape)) if whole_numbers else (lambda *shape: rng.standard_normal(shape))
    query_QD, item_ND = draw(queries, dims).astype(np.float32), draw(items, dims).astype(np.float32)
    item_group_N = np.concatenate([np.arange(groups), rng.integers(0, groups, items - groups)])
    return query_QD, item_ND, rng.integers(0, groups, queries), rng.permutation(item_group_N)


@pytest.mark.parametrize(("queries", "items", "groups"), [(40, 60, 60), (70, 200, 30), (5, 3, 2), (130, 90, 4)])
def test_recall_and_ap_equal_ir_measures(queries, items, groups):
    query, item, query_group, item_group = problem(np.random.default_rng(queries), queries, items, groups, 16)
    scores_QN = query @ item.T
    assert all(len(np.unique(row)) == items for row in scores_QN)  # ir-measures breaks ties its own way
    run = {f"q{q:03}": {f"i{n:03}": float(scores_QN[q, n]) for n in range(items)} for q in range(queries)}
    truth = {
        f"q{q:03}": {f"i{n:03}": int(item_group[n] == query_group[q]) for n in range(items)} for q in range(queries)
    }
    expected = {}
    for value in ir_measures.iter_calc([Success @ 1, Success @ 5, AP @ 10, AP @ 3], truth, run):
        expected.setdefault(str(value.measure), {})[value.query_id] = value.value
    rank_Q = first_relevant_rank(query, item, query_group, item_group)
    for k in (1, 5):
        assert recall_at(rank_Q, k).tolist() == [value for _, value in sorted(expected[f"Success@{k}"].items())]
    for k in (3, 10):
        ours_Q = average_precision(relevant_ranks(query, item, query_group, item_group, depth=k), k)
        np.testing.assert_allclose(ours_Q, [value for _, value in sorted(expected[f"AP@{k}"].items())], rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 40),
    items=st.integers(1, 90),
    k=st.integers(1, 12),
    share=st.floats(0.05, 1),
)
def test_ties_equal_the_obvious_version(seed, queries, items, k, share):
    # Whole numbers are exact in float32, and few dimensions make most scores equal.
    groups = max(1, int(items * share))
    query, item, query_group, item_group = problem(np.random.default_rng(seed), queries, items, groups, 3, True)
    scores_QN, right_QN = query @ item.T, query_group[:, None] == item_group
    pairs = [(s.tolist(), r.tolist()) for s, r in zip(scores_QN, right_QN, strict=True)]
    assert first_relevant_rank(query, item, query_group, item_group).tolist() == [obvious_rank(s, r) for s, r in pairs]
    ours_Q = average_precision(relevant_ranks(query, item, query_group, item_group, depth=k), k)
    np.testing.assert_allclose(ours_Q, [obvious_ap(s, r, k) for s, r in pairs], rtol=1e-12)


def test_a_hand_made_case():
    # Scores 0.9 (wrong), 0.8 (right), 0.8 (wrong), 0.1 (right): ranks 3 and 4, AP@10 = (1/3 + 2/4) / 2, AP@3 = 1/6.
    item = np.array([[0.9], [0.8], [0.8], [0.1]], np.float32)
    case = (np.ones((1, 1), np.float32), item, ["a"], ["b", "a", "c", "a"])
    ranks = relevant_ranks(*case, depth=10)
    assert ranks.rank_QJ.tolist() == [[3, 4]]
    assert ranks.relevant_Q.tolist() == [2]
    assert average_precision(ranks, 10)[0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision(ranks, 3)[0] == pytest.approx(1 / 6)


def test_blocks_and_chunks_do_not_matter(monkeypatch):
    query, item, query_group, item_group = problem(np.random.default_rng(1), 300, 2500, 400, 4, True)
    whole = relevant_ranks(query, item, query_group, item_group, depth=5)
    monkeypatch.setattr(metrics, "_CACHED", 1)
    small = relevant_ranks(query, item, query_group, item_group, depth=5, block=64)
    assert np.array_equal(whole.rank_QJ, small.rank_QJ)


def test_the_best_wrong_item_equals_sorting_by_hand():
    query, item, query_group, item_group = problem(np.random.default_rng(3), 150, 400, 60, 5, True)
    found = relevant_ranks(query, item, query_group, item_group, wrong=True, block=64)
    assert np.array_equal(found.rank_QJ, relevant_ranks(query, item, query_group, item_group).rank_QJ)
    for scores, group, wrong in zip(query @ item.T, query_group, found.wrong_Q, strict=True):
        assert item_group[wrong] != group
        assert scores[wrong] == scores[item_group != group].max()


def test_where_every_item_is_relevant_none_is_wrong():
    ones = np.ones((2, 3), np.float32)
    assert relevant_ranks(ones, ones, [4, 4], [4, 4], wrong=True).wrong_Q.tolist() == [-1, -1]
    assert relevant_ranks(ones, ones, [4, 4], [4, 4]).wrong_Q is None


@pytest.mark.parametrize("items", [2, 5, 37, 1003])
@pytest.mark.parametrize("queries", [1, 7, 65])
def test_a_model_that_says_the_same_of_everything_gets_nothing(queries, items):
    # Rounding must not break these ties: every item is the same vector of real numbers.
    rng = np.random.default_rng(0)
    item = np.repeat(rng.standard_normal((1, 512)).astype(np.float32), items, 0)
    query = rng.standard_normal((queries, 512)).astype(np.float32)
    rank_Q = first_relevant_rank(query, item, np.arange(queries) % items, np.arange(items))
    assert rank_Q.tolist() == [items] * queries


def test_torch_tensors_and_text_ids_give_the_same():
    query, item, query_group, item_group = problem(np.random.default_rng(2), 20, 30, 10, 8)
    expected = first_relevant_rank(query, item, query_group, item_group)
    named = [f"image {g}" for g in query_group], np.array([f"image {g}" for g in item_group])
    assert np.array_equal(expected, first_relevant_rank(torch.from_numpy(query), torch.from_numpy(item), *named))


def test_bad_input_is_named():
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(DataError, match=r"query 1 .*no relevant item"):
        first_relevant_rank(ones, ones, [0, 7], [0, 1])
    with pytest.raises(DataError, match="group ids of shape"):
        first_relevant_rank(ones, ones, [0], [0, 1])
    with pytest.raises(ModelError, match="not finite"):
        first_relevant_rank(ones * np.nan, ones, [0, 1], [0, 1])
    with pytest.raises(DataError, match="cannot be ranked"):
        first_relevant_rank(ones, np.empty((0, 3), np.float32), [0, 1], [])


def test_bootstrap_equals_drawing_clusters_one_by_one():
    rng = np.random.default_rng(3)
    clusters_Q = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    values_Q = (rng.random(60)[clusters_Q] + rng.random(len(clusters_Q)) > 1).astype(float)
    members = [np.flatnonzero(clusters_Q == c) for c in range(60)]
    means = [values_Q[np.concatenate([members[c] for c in rng.integers(0, 60, 60)])].mean() for _ in range(4000)]
    ours = bootstrap_ci(values_Q, clusters_Q, resamples=4000)
    np.testing.assert_allclose(ours, np.quantile(means, [0.025, 0.975]), atol=0.012)
    unclustered = bootstrap_ci(values_Q, np.arange(len(values_Q)), resamples=4000)
    assert np.diff(ours) > 1.2 * np.diff(unclustered)


def test_bootstrap_is_seeded_and_takes_several_metrics():
    rng = np.random.default_rng(4)
    values_QM = rng.random((50, 3))
    one = bootstrap_ci(values_QM, np.arange(50), seed=5)
    assert one.shape == (3, 2)
    assert np.array_equal(one, bootstrap_ci(values_QM, np.arange(50), seed=5))
    assert not np.array_equal(one, bootstrap_ci(values_QM, np.arange(50), seed=6))


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(7), 0
    for trial in range(300):
        low, high = bootstrap_ci((rng.random(120) < 0.4).astype(float), np.arange(120), resamples=400, seed=trial)
        inside += low <= 0.4 <= high
    assert 0.90 <= inside / 300 <= 0.985


def test_paired_interval_is_tighter_than_the_models_own():
    rng = np.random.default_rng(8)
    hard_Q = rng.random(500)
    b_Q = (hard_Q < 0.5).astype(float)
    a_Q = (hard_Q < 0.55).astype(float)
    difference, (low, high) = paired_bootstrap(a_Q, b_Q, np.arange(500))
    assert difference == pytest.approx((a_Q - b_Q).mean())
    assert 0 < low < difference < high
    assert high - low < np.diff(bootstrap_ci(a_Q, np.arange(500)))[0] / 1.5
    with pytest.raises(DataError, match="cannot be paired"):
        paired_bootstrap(a_Q, b_Q[1:], np.arange(500))


def test_several_vectors_of_a_query_do_not_widen_the_strips(monkeypatch):
    """BLIP-2 asks with 32 vectors per image: 64 rows of scores at a time, not 64 queries' rows."""
    rng = np.random.default_rng(0)
    query_QKD, item_ND = rng.normal(size=(50, 32, 4)).astype(np.float32), rng.normal(size=(80, 4)).astype(np.float32)
    group_Q, group_N = np.arange(50), np.arange(80)
    whole = first_relevant_rank(query_QKD, item_ND, group_Q, group_N)
    best, rows = metrics._best_vectors, []

    def spied(scores, *vectors):
        rows.append(len(scores))
        return best(scores, *vectors)

    monkeypatch.setattr(metrics, "_STRIP", 64 * 80)
    monkeypatch.setattr(metrics, "_best_vectors", spied)
    assert first_relevant_rank(query_QKD, item_ND, group_Q, group_N).tolist() == whole.tolist()
    assert max(rows) == 64
