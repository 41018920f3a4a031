"""Where a searcher finds the nearest images: in memory, every one compared, or in the table by its index.

Scores that agree to six decimals are ties, which go by id: equal images come in one order whatever their rows are, and
the last digits of a product depend on where a row stands.

Shapes: N images, M of them allowed, C candidates, K hits, D joint dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fastgoal.search.tables import Table, images_schema, vectors_of

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
SHOWN = ("id", "image", "width", "height", "key")
"""The columns that a hit shows, and its key."""
DECIMALS = 6
MEMORY_MIB = 1024.0
"""Vectors are held in memory while they are no more than this: half a million at 512 dimensions."""
PROBES, REFINE = 48, 25
"""Of the table's index: how many of its parts are looked through, and how many times as many candidates as hits are
compared by their full vectors."""


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """rows: of the table, best first, with `SHOWN`. scores: of each. matching: how many images were allowed."""

    rows: Sequence[dict[str, Any]]
    scores: Sequence[float]
    matching: int


class Store(Protocol):
    """exact: every vector is compared."""

    exact: bool

    def nearest(self, query_D: Floats, top: int, skip: int, where: str | None, but: int | None) -> Nearest:
        """The `top` images after the first `skip` ones.

        Args:
            where: a condition on the images. but: the key of one that is left out.

        Raises:
            ConfigError: no condition. DataError: the table cannot be read.
        """


class InMemory:
    """All vectors of a table, in memory."""

    def __init__(self, images: Table, dim: int) -> None:
        self.exact, self._images = True, images
        count = len(images)
        self._vector_ND, self._key_N, filled = np.empty((count, dim), np.float32), np.empty(count, np.int64), 0
        schema, shown = pa.schema([images_schema(dim).field(name) for name in SHOWN]), list[pa.RecordBatch]()
        for batch in images.batches([*SHOWN, "vector"]):
            stop = filled + len(batch)
            self._vector_ND[filled:stop] = vectors_of(batch, dim)
            self._key_N[filled:stop] = batch.column("key").to_numpy()
            own = {name: _own(batch.column(name)) for name in SHOWN}
            shown.append(pa.RecordBatch.from_pydict(own, schema))
            filled = stop
        self._shown = pa.Table.from_batches(shown, schema)
        self._rank_N = np.empty(count, np.int64)
        self._rank_N[pc.sort_indices(self._shown.column("id")).to_numpy()] = np.arange(count)
        self._allowed = lru_cache(32)(self._asked)

    def nearest(self, query_D: Floats, top: int, skip: int, where: str | None, but: int | None) -> Nearest:
        allowed_N = None if where is None else self._allowed(where)
        if but is not None:
            others_N = self._key_N != but
            allowed_N = others_N if allowed_N is None else allowed_N & others_N
        score_N = self._vector_ND @ query_D
        place_K = best(score_N, self._rank_N, top + skip, allowed_N)[skip:]
        matching = len(score_N) if allowed_N is None else int(allowed_N.sum())
        return Nearest(rows=self._shown.take(place_K).to_pylist(), scores=score_N[place_K].tolist(), matching=matching)

    def _asked(self, where: str) -> Bools:
        keys_M = self._images.read(["key"], where).column("key").to_numpy()
        return np.isin(self._key_N, keys_M)


def best(score_N: Floats, rank_N: Ints, count: int, allowed_N: Bools | None = None) -> Ints:
    """The places of the `count` highest scores, best first, ties by rank.

    Args:
        rank_N: the order of the ids, from 0.
        allowed_N: who may be among them; None: all.
    """
    place_M = np.arange(len(score_N)) if allowed_N is None else np.flatnonzero(allowed_N)
    count = min(count, len(place_M))
    if count <= 0:
        return np.empty(0, np.int64)
    score_M = score_N if allowed_N is None else score_N[place_M]
    least = np.partition(score_M, len(score_M) - count)[len(score_M) - count]
    near_C: Ints = place_M[score_M >= least - 2 * 10.0**-DECIMALS]  # who ties with the last one may come before it
    return near_C[_order(score_N[near_C], rank_N[near_C])][:count]


def _order(score_C: Floats, rank_C: npt.NDArray[Any]) -> Ints:
    order_C: Ints = np.lexsort((rank_C, -np.round(score_C.astype(np.float64), DECIMALS)))
    return order_C


def _own(column: pa.Array) -> pa.Array:
    """A copy, without the memory of the batch that it came in."""
    return pa.concat_arrays([column.slice(0, 0), column])


class InTable:
    """The table's own index of the vectors; without one, the table compares every vector itself."""

    def __init__(self, images: Table, dim: int) -> None:
        self.exact, self._images, self._dim = not images.indexed, images, dim

    def nearest(self, query_D: Floats, top: int, skip: int, where: str | None, but: int | None) -> Nearest:
        matching = self._images.count(where) - (but is not None)
        others = None if but is None else f"key != {but}"
        both = f"({where}) AND {others}" if where and others else where or others
        if top <= 0:
            return Nearest(rows=(), scores=(), matching=matching)
        columns = [*SHOWN, "vector", "_distance"]
        found = self._images.nearest(query_D, top + skip, columns, both, probes=PROBES, refine=REFINE)
        score_K = vectors_of(found, self._dim) @ query_D
        order_K = _order(score_K, np.array(found.column("id").to_pylist()))[skip:]
        rows = found.select(list(SHOWN)).take(order_K).to_pylist()
        return Nearest(rows=rows, scores=score_K[order_K].tolist(), matching=matching)
