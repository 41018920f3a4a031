"""The flow over actors: order, bounds, errors, and what a killed process or node costs (nothing)."""

import os
import signal
from collections.abc import Iterator

import pytest
from ray.cluster_utils import Cluster as TestCluster
from tests.cluster.workers import deadly_at_two, refusing_at_five, slow_first, squares

from fastgoal.cluster.flow import AHEAD, over_actors
from fastgoal.cluster.session import Cluster, joined
from fastgoal.errors import DataError, ModelError

TWO = Cluster(workers=2)


def test_results_come_in_order_from_both_workers(ray):
    results = list(over_actors(range(40), squares, TWO))
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


def test_a_killed_worker_is_replaced(ray):
    seen, workers = [], set()
    for worker, number in over_actors(range(60), squares, TWO):
        seen.append(number)
        workers.add(worker)
        if len(seen) == 10:
            os.kill(int(worker.partition(":")[2]), signal.SIGKILL)
    assert seen == [number**2 for number in range(60)]
    assert len(workers) == 3


def test_an_item_that_kills_every_worker_ends_the_job(ray):
    with pytest.raises(ModelError, match="workers died over one piece of work"):
        list(over_actors(range(6), deadly_at_two, TWO))


def test_the_loss_of_a_node_is_made_up_by_the_other(request):
    nodes = TestCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    request.addfinalizer(nodes.shutdown)
    lost = nodes.add_node(num_cpus=1)
    with joined(Cluster(address=nodes.address)) as cluster:
        assert cluster.workers == 2
        seen, workers = [], set()
        for worker, number in over_actors(range(400), squares, cluster):
            seen.append(number)
            workers.add(worker)
            if len(workers) == 2 and lost is not None:
                nodes.remove_node(lost, allow_graceful=False)
                lost = None
    assert seen == [number**2 for number in range(400)]
    assert lost is None  # both had taken part
