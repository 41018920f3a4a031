"""Indexing on a cluster: the engine that has actors read and embed batches of images.

As in matching, a batch is a function of its images alone: an actor is given the images' names and gives their vectors,
and the driver, which alone writes, commits them in order. Every embedding has the batch mates that it has in one
process, so the index is the same to the last digit.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from fastgoal.cluster.flow import over_actors
from fastgoal.cluster.matching import expect_same
from fastgoal.cluster.session import Cluster, joined
from fastgoal.data.store import ImageStore
from fastgoal.models.retriever import Retriever
from fastgoal.progress import Progress
from fastgoal.regions.region import Proposer
from fastgoal.search.embedding import Batch, Batches, Embedder

Models = tuple[Retriever, Proposer | None]


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """An `Engine` of indexing (`index(..., engine=RayEngine(...))`).

    load: the model and the source of regions on a device; called by every worker, so it can be pickled, and what it
        loads is reachable from every node, like the images.

    Raises:
        ConfigError: as `joined`.
        ModelError: a node has other models than the driver; as `over_actors`.
    """

    cluster: Cluster
    load: Callable[[str], Models]

    def __call__(self, batches: Batches, embedder: Embedder, bar: Progress) -> Iterator[Batch]:
        if not batches:
            return  # all is there: no cluster is needed
        with joined(self.cluster) as cluster:
            make = partial(
                _make,
                partial(self.load, cluster.device),
                embedder.images,
                embedder.batch,
                embedder.workers,
                embedder.fingerprints,
            )
            for worker, made in over_actors(batches, make, cluster):
                bar.update(len(made.looks) + len(made.same) + len(made.left_out))
                yield replace(made, worker=worker)


def _make(
    load: Callable[[], Models], images: ImageStore, batch: int, workers: int, fingerprints: Mapping[str, str | None]
) -> Embedder:
    """A worker's embedder."""
    encoder, proposer = load()
    embedder = Embedder(encoder, images, proposer, batch=batch, workers=workers)
    for what, expected in fingerprints.items():
        if expected is not None:
            expect_same(what, str(embedder.fingerprints[what]), expected)
    return embedder
