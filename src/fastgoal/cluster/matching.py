"""Matching on a cluster: the engine that has actors compute the shards of a pairs table.

The one idea: a shard is a function of its samples alone (`fastgoal.matching.matcher`), so an actor is given the samples
of a shard and gives its rows. The driver writes them, in order, as it writes its own: the table is the same to the
byte, and either engine continues what the other began.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fastgoal.cluster.flow import over_actors
from fastgoal.cluster.session import Cluster, joined
from fastgoal.data.store import ImageStore
from fastgoal.errors import ModelError
from fastgoal.matching import Matched, Matcher, MatchSettings, Shards
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.progress import Progress
from fastgoal.regions import Proposer

Models = tuple[DualEncoder, Proposer]


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """An `Engine` of matching (`match(..., engine=RayEngine(...))`).

    load: the matcher and the source of regions on a device; called by every worker, so it can be pickled, and what it
        loads is reachable from every node.

    Raises:
        ConfigError: as `joined`.
        ModelError: a node has other models than the driver; as `over_actors`.
    """

    cluster: Cluster
    load: Callable[[str], Models]

    def __call__(self, shards: Shards, matcher: Matcher, bar: Progress) -> Iterator[Matched]:
        if shards.start >= len(shards.source):
            return  # all is there: no cluster is needed
        with joined(self.cluster) as cluster:
            make = partial(
                _make,
                partial(self.load, cluster.device),
                matcher.images,
                matcher.settings,
                matcher.cache,
                matcher.fingerprints,
            )
            for worker, matched in over_actors(shards, make, cluster):
                bar.update(len(matched.rows))
                yield replace(matched, worker=worker)


def _make(
    load: Callable[[], Models],
    images: ImageStore,
    settings: MatchSettings,
    cache: str | Path | None,
    fingerprints: Mapping[str, str],
) -> Matcher:
    """A worker's matcher."""
    encoder, proposer = load()
    matcher = Matcher(encoder, proposer, images, settings, cache)
    for what, expected in fingerprints.items():
        expect_same(what, matcher.fingerprints[what], expected)
    return matcher


def expect_same(what: str, found: str, expected: str) -> None:
    """Raises ModelError where a worker has loaded another model than the driver under the same name."""
    if found != expected:
        mend = "Put the same files and versions on every node, or name a folder that all nodes share."
        raise ModelError(f"a worker has another {what} ({found}) than the driver ({expected})", mend=mend)
