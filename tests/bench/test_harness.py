"""The harness: who runs when, ratios by hand, failures of parts, and what a row says."""

import json

import pytest

from fastgoal.bench import harness
from fastgoal.bench.harness import Bench, Row, Spread, alternate, describe, memory, rates
from fastgoal.errors import FastgoalError


def test_sides_alternate_and_every_other_round_is_turned_round():
    order = []
    seconds = alternate({name: lambda name=name: order.append(name) for name in "abc"}, 3)
    assert "".join(order) == "cba" + "abc" + "cba" + "abc"
    assert {name: len(took) for name, took in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    order.clear()
    alternate({name: lambda name=name: order.append(name) for name in "ab"}, 2, warm=False)
    assert "".join(order) == "ab" + "ba"


def test_seconds_are_those_of_each_run(monkeypatch):
    clock = iter([0, 5, 10, 12, 20, 21, 30, 34])
    monkeypatch.setattr(harness.time, "perf_counter", lambda: next(clock))
    seconds = alternate({"ours": lambda: None, "reference": lambda: None}, 2, warm=False)
    assert seconds == {"ours": [5, 4], "reference": [2, 1]}


def test_a_ratio_is_that_of_neighbouring_runs():
    seconds = {"ours": [1.0, 2.0, 4.0], "reference": [2.0, 8.0, 4.0], "bound": [0.5, 1.0, 4.0]}
    row = rates("name", "items/s", 8, seconds, aim=">= 2")
    assert (row.ours, row.reference, row.bound) == (4, 2, 8)
    assert row.ratio == Spread(median=2, min=1, max=4)  # 2, 4, 1: not the ratio of the medians of times
    alone = rates("name", "items/s", 8, {"ours": [2.0]}, bound=16)
    assert (alone.ours, alone.reference, alone.ratio, alone.bound) == (4, None, None, 16)


def test_memory_is_better_where_it_is_less():
    row = memory("name", 100, 400, aim="<= 0.6")
    assert (row.unit, row.ratio) == ("MiB", Spread(median=0.25, min=0.25, max=0.25))
    assert memory("name", 100).ratio is None


def test_a_part_that_fails_is_named_with_its_last_word():
    with pytest.raises(FastgoalError, match=r"a part of the benchmark failed: .*no_such_module") as caught:
        harness.apart("fastgoal.no_such_module", 1)
    assert caught.value.where == "-m fastgoal.no_such_module 1"


def test_results_have_the_shape_that_is_agreed_on():
    row = rates("name", "items/s", 8, {"ours": [1.0], "reference": [2.0]}, bound_is="something", aim=">= 2")
    found = json.loads(json.dumps(Bench.of([row]).to_json()))
    assert set(found) == {"rows", "hardware", "versions"}
    assert {"name", "ours", "reference", "ratio", "bound", "unit"} <= set(found["rows"][0])
    assert found["rows"][0]["ratio"] == {"median": 2, "min": 2, "max": 2}
    assert {"processor", "cores", "threads"} <= set(found["hardware"])
    assert {"python", "torch", "fastgoal"} <= set(found["versions"])


def test_a_table_says_all_of_a_row():
    seconds = {"ours": [1.0], "reference": [4.0]}
    row = rates("two views", "items/s", 6, seconds, bound=12, bound_is="one decode", aim=">= 2.5")
    assert describe(Bench.of([row, Row(name="bare", unit="s", ours=1234)])).splitlines()[-2:] == [
        "| two views | items/s | 6 | 1.5 | 4.00 [4.00, 4.00] | 12: one decode (0.50 of it) | >= 2.5 |",
        "| bare | s | 1,234 |  |  |  |  |",
    ]
