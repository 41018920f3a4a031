"""Two nodes, on one machine: both work, and the loss of one is made up by the other."""

from collections.abc import Iterator
from functools import partial

import pytest
from ray.cluster_utils import Cluster as Nodes
from tests.cluster.numbers import Together
from tests.cluster.workers import fixed_models

from fastgoal.cluster.flow import over_actors
from fastgoal.cluster.matching import RayEngine
from fastgoal.cluster.session import Cluster, joined
from fastgoal.data.source import open_source
from fastgoal.matching import MatchSettings, match
from fastgoal.pairs import MANIFEST


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def test_two_nodes_match_one_table(nodes, scenes, tmp_path):
    source, load, settings = open_source(scenes / "train"), partial(fixed_models, "tiny"), MatchSettings(shard_rows=2)
    engine = RayEngine(cluster=Cluster(address=nodes.address), load=load)
    report = match(source, *load("cpu"), tmp_path / "pairs", settings, progress=False, engine=engine)
    match(source, *load("cpu"), tmp_path / "alone", settings, progress=False)
    assert (tmp_path / "pairs" / MANIFEST).read_bytes() == (tmp_path / "alone" / MANIFEST).read_bytes()
    assert report.workers == 2  # of one CPU each, so one on either node


def test_the_loss_of_a_node_is_made_up_by_the_other(nodes, tmp_path):
    lost = next(iter(nodes.worker_nodes))
    with joined(Cluster(address=nodes.address)) as cluster:
        assert cluster.workers == 2
        seen, workers = [], set()
        for worker, number in over_actors(range(400), partial(Together, tmp_path), cluster):
            seen.append(number)
            workers.add(worker)
            if len(workers) == 2 and lost is not None:
                nodes.remove_node(lost, allow_graceful=False)
                lost = None
    assert seen == [number**2 for number in range(400)]
    assert lost is None  # both had taken part
