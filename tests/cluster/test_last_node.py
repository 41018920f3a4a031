"""A cluster that is over: its workers will never be replaced, and the job says so."""

from collections import deque
from itertools import count

import psutil
import pytest
import ray
from tests.cluster.numbers import squares

from fastgoal.cluster.flow import _Pool, over_actors
from fastgoal.cluster.session import Cluster, joined
from fastgoal.errors import FastgoalError


def test_the_death_of_the_last_node_ends_the_job(monkeypatch):
    for name, value in (("initial_delay_ms", 1000), ("period_ms", 500), ("failure_threshold", 2)):
        monkeypatch.setenv(f"RAY_health_check_{name}", str(value))  # a dead node is noticed sooner
    with joined(Cluster(workers=1)) as cluster:
        flow = over_actors(count(), squares, cluster)  # without an end: the worker may outlive its node by a little
        assert next(flow)[1] == 0
        (raylet,) = (own for own in psutil.Process().children() if own.name() == "raylet")
        raylet.kill()
        with pytest.raises(FastgoalError, match=r"no node of the Ray cluster is left\. Type the command again"):
            deque(flow, maxlen=0)


class Broken:
    """A Ray whose pipe to this machine's node is broken."""

    exceptions = ray.exceptions

    def wait(self, *_, **__):
        raise BrokenPipeError("Broken pipe")


def test_a_broken_pipe_to_the_own_node_says_the_same(monkeypatch):
    with joined(Cluster(workers=1)) as cluster:
        pool = _Pool(squares, cluster)
        monkeypatch.setattr(pool, "_ray", Broken())
        with pytest.raises(FastgoalError, match="no node of the Ray cluster is left"):
            next(pool.results([1]))
