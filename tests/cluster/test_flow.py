"""The flow over actors: order, bounds, errors, and what a killed process or node costs (nothing)."""

import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from tests.cluster.numbers import Together, deadly_at_two, refusing_at_five, slow_first, squares

from fastgoal.cluster.flow import AHEAD, over_actors
from fastgoal.cluster.session import Cluster
from fastgoal.errors import DataError, ModelError

TWO = Cluster(workers=2)


def test_results_come_in_order_from_both_workers(ray, tmp_path):
    results = list(over_actors(range(40), partial(Together, tmp_path), TWO))
    assert [number for _, number in results] == [number**2 for number in range(40)]
    assert len({worker for worker, _ in results}) == 2


def test_nothing_of_an_empty_stream(ray):
    assert list(over_actors([], squares, TWO)) == []


def test_a_slow_first_item_holds_the_stream_back(ray):
    drawn = []

    def counted() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            yield number

    flow = over_actors(counted(), slow_first, TWO)
    assert next(flow)[1] == 0
    assert 2 < len(drawn) <= AHEAD * 2  # others were worked on meanwhile, but not many
    assert [number for _, number in flow] == list(range(1, 100))


def test_a_workers_error_comes_as_it_was_raised_after_all_earlier_results(ray):
    taken = []
    with pytest.raises(DataError) as error:
        taken.extend(number for _, number in over_actors(range(40), refusing_at_five, TWO))
    assert str(error.value) == "numbers: number 5 is no good. Leave it out."


def test_a_killed_worker_is_replaced(ray, tmp_path):
    seen, before, after = [], set(), set()
    for worker, number in over_actors(range(200), partial(Together, tmp_path), TWO):
        seen.append(number)
        (before if len(before) < 2 else after).add(worker)
        if len(before) == 2 and not after:
            after.add(worker)
            killed = int(worker.partition(":")[2])
            os.kill(killed, signal.SIGKILL)
    assert seen == [number**2 for number in range(200)]
    assert killed in {int(path.name) for path in tmp_path.iterdir()}


def test_an_item_that_kills_every_worker_ends_the_job(ray):
    with pytest.raises(ModelError, match="workers died over one piece of work"):
        list(over_actors(range(6), deadly_at_two, TWO))
