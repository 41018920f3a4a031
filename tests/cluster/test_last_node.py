"""A cluster that is over: its workers will never be replaced, and the job says so."""

import psutil
import pytest
from tests.cluster.numbers import squares

from fastgoal.cluster.flow import over_actors
from fastgoal.cluster.session import Cluster, joined
from fastgoal.errors import FastgoalError


def test_the_death_of_the_last_node_ends_the_job():
    with joined(Cluster(workers=1)) as cluster:
        flow = over_actors(range(10_000), squares, cluster)
        assert next(flow)[1] == 0
        (raylet,) = (own for own in psutil.Process().children() if own.name() == "raylet")
        raylet.kill()
        with pytest.raises(FastgoalError, match=r"no node of the Ray cluster is left\. Type the command again"):
            list(flow)
