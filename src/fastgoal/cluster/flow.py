"""Items streamed over actors, their results in the items' order, in bounded memory.

The one idea: the driver draws an item only when no more than a few others are under way or held back for an earlier one
that is still missing. So neither the driver nor the object store ever holds more than that many, however long the
stream is and however slow its first item.

An actor makes its worker once. One that dies, with its process or its node, is replaced, and what it had goes to the
next that is free: a replacement that finds no room holds up nobody. An item that takes its actor with it time after
time ends the job, as it would never be done, and so does a cluster without a node.
"""

import os
import pickle
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fastgoal.cluster.session import Cluster, import_ray
from fastgoal.errors import FastgoalError, ModelError, first_line
from fastgoal.watch import told_if_long

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4
"""Items per worker that are drawn before the first of them is done."""
GIVEN = 2
"""Items that an actor has at a time: one in work, the next at hand."""
TRIES = 4
"""How many actors an item may take with it."""
LOOK = 1.0
"""Seconds after which a wait lets a signal through."""


def over_actors(items: Iterable[T], make: Callable[[], Callable[[T], R]], cluster: Cluster) -> Iterator[tuple[str, R]]:
    """The result of every item, in order, with the name of the worker (`host:pid`) that it came from.

    Args:
        items: each can be pickled; drawn in this process, as they are needed.
        make: makes a worker; called once per actor, there, with its first item; can be pickled.
        cluster: as `joined` gives it.

    Raises:
        FastgoalError: what a worker raised, once the results of all earlier items were taken; no node is left.
        ModelError: workers die of one item again and again.
    """
    pool = _Pool(make, cluster)
    try:
        yield from pool.results(items)
    finally:
        pool.close()


@dataclass(frozen=True, kw_only=True)
class _Task:
    """An item, its place in the stream, and how many actors died with it."""

    number: int
    item: Any
    deaths: int = 0


class _Pool:
    """The actors, and what each has in work."""

    def __init__(self, make: Callable[[], Any], cluster: Cluster) -> None:
        self._ray, self._make, self._size = import_ray(), make, cluster.workers or 1
        self._actor_type = self._ray.remote(
            num_cpus=1, num_gpus=cluster.gpus_per_worker, max_restarts=0, scheduling_strategy="SPREAD"
        )(_Actor)
        self._names: dict[Any, str] = {}  # of the actors that have begun
        self._beginning: dict[Any, Any] = {}  # what an actor's first word will come by -> actor
        self._running: dict[Any, tuple[_Task, Any]] = {}  # what a result will come by -> task, actor
        self._again = deque[_Task]()
        self._stillborn = self._drawn = 0
        self._more = True
        for _ in range(self._size):
            self._begin()

    def results(self, items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
        """The results of all items, in order; at most `AHEAD` items per worker are drawn and not yet taken."""
        fresh = (_Task(number=number, item=item) for number, item in enumerate(items))
        done: dict[int, tuple[str, Any]] = {}
        taken = 0
        while True:
            while taken in done:
                worker, outcome = done.pop(taken)
                taken += 1
                if isinstance(outcome, FastgoalError):
                    raise outcome
                yield worker, outcome
            self._give(fresh, taken + AHEAD * self._size)
            if not (self._running or self._again or self._more):
                return
            done.update(self._finished())

    def close(self) -> None:
        """End all actors."""
        for actor in (*self._names, *self._beginning.values()):
            self._ray.kill(actor)

    def _begin(self) -> None:
        actor = self._actor_type.remote(self._make, Path.cwd())
        self._beginning[actor.name.remote()] = actor

    def _give(self, fresh: Iterator[_Task], limit: int) -> None:
        """Give the actors what they can take, of the stream up to item number `limit`."""
        while (actor := self._free()) is not None and (task := self._next(fresh, limit)) is not None:
            self._running[actor.work.remote(pickle.dumps(task.item))] = task, actor

    def _next(self, fresh: Iterator[_Task], limit: int) -> _Task | None:
        if self._again:
            return self._again.popleft()
        if self._drawn >= limit:
            return None
        task = next(fresh, None)
        self._more = task is not None
        self._drawn += self._more
        return task

    def _free(self) -> Any | None:
        """The actor that has least to do, if it can take more."""
        load = {actor: sum(busy == actor for _, busy in self._running.values()) for actor in self._names}
        actor = min(load, key=lambda one: load[one], default=None)
        return actor if actor is not None and load[actor] < GIVEN else None

    def _finished(self) -> dict[int, tuple[str, Any]]:
        """Wait until an actor has something to say; the results by their tasks' numbers."""
        waited = [*self._running, *self._beginning]
        with told_if_long("waiting for the cluster", detail=self._detail):
            ready: list[Any] = []
            while waited and not ready:
                with self._reaching():
                    ready, _ = self._ray.wait(waited, num_returns=1, timeout=LOOK)
                if not (ready or self._names):
                    self._expect_a_node()
        return {number: result for ref in ready for number, result in self._heard(ref)}

    def _expect_a_node(self) -> None:
        """Room for a worker may come while there is any node: without its first one a cluster is over."""
        if not any(node["Alive"] for node in self._ray.nodes()):
            raise _over()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Around what is asked of this machine's own node, whose death may break the pipe to it before it is known."""
        try:
            yield
        except OSError as error:
            if isinstance(error, self._ray.exceptions.RayError):  # a worker's own
                raise
            raise _over() from error

    def _heard(self, ref: Any) -> Iterator[tuple[int, tuple[str, Any]]]:
        task, actor = self._running.pop(ref, (None, None))
        if task is None:
            actor = self._beginning.pop(ref)
        try:
            with self._reaching():
                said = self._ray.get(ref)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
            self._lost(actor, task, error)
            return
        if task is None:
            self._names[actor], self._stillborn = said, 0
        else:
            yield task.number, (self._names[actor], pickle.loads(said))

    def _lost(self, actor: Any, task: _Task | None, error: Exception) -> None:
        """Replace an actor, once, and give its task out again; all that it had comes here one by one."""
        if task is None or self._names.pop(actor, None) is not None:
            with suppress(Exception):  # it may be unreachable rather than dead
                self._ray.kill(actor)
            self._begin()
        if task is None:
            self._stillborn += 1
            if self._stillborn >= TRIES:
                mend = "Install the same fastgoal on every node, and look at their memory."
                raise ModelError(f"workers cannot begin ({first_line(error)})", mend=mend) from error
            return
        if task.deaths + 1 >= TRIES:
            mend = "Look at the memory of the nodes; ask for fewer workers there or a smaller batch."
            raise ModelError(f"{TRIES} workers died over one piece of work", mend=mend) from error
        self._again.append(replace(task, deaths=task.deaths + 1))

    def _detail(self) -> str:
        return f"{len(self._names)} workers at {len(self._running)} tasks, {len(self._beginning)} waiting for room"


def _over() -> FastgoalError:
    mend = "Type the command again, on a cluster that runs: what was finished is kept."
    return FastgoalError("no node of the Ray cluster is left", mend=mend)


class _Actor:
    """A worker's side: makes what does the work when the first item comes, so that its errors are results too."""

    def __init__(self, make: Callable[[], Any], folder: Path) -> None:
        with suppress(OSError):  # relative paths mean what they mean to the driver, where the node has such a folder
            os.chdir(folder)
        self._make = make
        self._work: Callable[[Any], Any] | None = None

    def name(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"

    def work(self, item: bytes) -> bytes:
        """The pickled result; as bytes, since arrays would stay in the object store for as long as they are used."""
        outcome: Any
        try:
            self._work = self._work or self._make()
            outcome = self._work(pickle.loads(item))
        except FastgoalError as error:
            outcome = error
        return pickle.dumps(outcome)
