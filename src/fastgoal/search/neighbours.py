"""Near-duplicates among the images of an index, and how well its approximate index finds neighbours.

Both compare some rows with all, of which a batch at a time is in memory.

Why 0.98: with the bundled model and 60 drawn scenes, an image and its copy as a JPEG of half the size have a cosine of
0.997 or more; with a copy at quality 30 it is above 0.986 for 95 of 100; two different scenes reach 0.970 at most.
Models differ; the threshold is a setting.

Shapes: M rows that are compared, N rows in all, B of a batch, D joint dimensions, K neighbours.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fastgoal.search.stores import PROBES, REFINE, Floats, Ints
from fastgoal.search.tables import Table, vectors_of

THRESHOLD = 0.98
SHOWN = 20
"""Pairs that are named, the most alike first."""
MOST = {"cpu": 2 * 10**10, "cuda": 10**13}
"""Pairs that are compared at most: some minutes on two cores at 512 dimensions."""
_STRIP = 4096


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Two images of the index, in the order of their ids, and their cosine."""

    a: str
    b: str
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Near-duplicates: pairs whose cosine is at least `threshold`.

    compared: images that were compared with all; those that are new in the index, or all. pairs: how many; None where
    they were too many to compare. first: some of them, the most alike first.
    """

    threshold: float
    compared: int
    pairs: int | None
    first: tuple[Twins, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "first": [vars(twins) for twins in self.first]}


def near_duplicates(
    images: Table, dim: int, fresh: Collection[int] | None, threshold: float, device: torch.device
) -> Duplicates:
    """Pairs of images that are nearly alike.

    Args:
        fresh: keys of the images that are compared with all; None: all of them.
        device: where the products are made.

    Raises:
        DataError: the table cannot be read.
    """
    wanted = len(images) if fresh is None else len(fresh)
    if wanted * len(images) > MOST.get(device.type, MOST["cpu"]):
        return Duplicates(threshold=threshold, compared=0, pairs=None)
    found = _Pairs(threshold)
    vector_MD, place_M, name_M = _fresh_rows(images, dim, fresh, wanted)
    vectors, start = torch.from_numpy(vector_MD).to(device), 0
    for batch in images.batches(["id", "vector"]):
        names, place_B = batch.column("id").to_pylist(), np.arange(start, start + len(batch))
        own_BD, fresh_B = torch.tensor(vectors_of(batch, dim), device=device), np.isin(place_B, place_M)
        # Of two fresh rows the later one meets the earlier; every other row meets all fresh ones.
        before = int(np.searchsorted(place_M, start + len(batch)))
        for row_C, others in ((np.flatnonzero(fresh_B), before), (np.flatnonzero(~fresh_B), len(place_M))):
            for strip in range(0, others if len(row_C) else 0, _STRIP):
                sim_CS = own_BD[row_C] @ vectors[strip : min(strip + _STRIP, others)].T
                c_P, m_P = (at.cpu().numpy() for at in torch.nonzero(sim_CS >= threshold, as_tuple=True))
                sim_P, b_P, m_P = sim_CS[c_P, m_P].cpu().numpy(), row_C[c_P], m_P + strip
                real_P = ~fresh_B[b_P] | (place_B[b_P] > place_M[m_P])
                found.add(sim_P[real_P], names, b_P[real_P], name_M, m_P[real_P])
        start += len(batch)
    return Duplicates(threshold=threshold, compared=wanted, pairs=found.count, first=tuple(found.first))


class _Pairs:
    """Counts pairs and keeps the most alike."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.count, self.first = threshold, 0, list[Twins]()

    def add(self, sim_P: Floats, a_names: Sequence[str], a_P: Ints, b_names: Sequence[str], b_P: Ints) -> None:
        self.count += len(sim_P)
        for pair in np.argsort(-sim_P, kind="stable")[:SHOWN].tolist():
            a, b = sorted((a_names[a_P[pair]], b_names[b_P[pair]]))
            self.first.append(Twins(a=a, b=b, cosine=float(sim_P[pair])))
        self.first = sorted(self.first, key=lambda twins: (-twins.cosine, twins.a, twins.b))[:SHOWN]


def _fresh_rows(images: Table, dim: int, fresh: Collection[int] | None, wanted: int) -> tuple[Floats, Ints, list[str]]:
    """The fresh rows, M x D, their places in the table's order, and their ids."""
    vector_MD, names, places = np.empty((wanted, dim), np.float32), list[str](), [np.empty(0, np.int64)]
    key_M, start = None if fresh is None else np.fromiter(fresh, np.int64, len(fresh)), 0
    for batch in images.batches(["id", "key", "vector"]):
        row_C = np.arange(len(batch)) if key_M is None else np.flatnonzero(np.isin(batch.column("key"), key_M))
        vector_MD[len(names) : len(names) + len(row_C)] = vectors_of(batch, dim)[row_C]
        names += batch.column("id").take(row_C).to_pylist()
        places.append(start + row_C)
        start += len(batch)
    return vector_MD, np.concatenate(places), names


@dataclass(frozen=True, kw_only=True)
class Recall:
    """How many of the `depth` true nearest neighbours the approximate index finds, over `sample` images of the index
    (each with all others)."""

    recall: float
    depth: int
    sample: int


def ann_recall(images: Table, dim: int, *, depth: int = 10, sample: int = 200) -> Recall:
    """Measure the approximate index against comparing everything.

    Raises:
        DataError: the table cannot be read.
    """
    asked = min(sample, len(images))
    place_Q = np.linspace(0, len(images) - 1, asked).astype(np.int64)
    query_QD, own_Q = _rows_at(images, dim, place_Q)
    top_QK, key_QK = np.full((asked, depth), -np.inf, np.float32), np.zeros((asked, depth), np.int64)
    for batch in images.batches(["key", "vector"]):
        key_B = batch.column("key").to_numpy()
        sim_QB = np.where(key_B == own_Q[:, None], -np.inf, query_QD @ vectors_of(batch, dim).T)
        all_QC = np.concatenate([top_QK, sim_QB], axis=1)
        keys_QC = np.concatenate([key_QK, np.broadcast_to(key_B, sim_QB.shape)], axis=1)
        at_QK = np.argpartition(-all_QC, depth - 1, axis=1)[:, :depth]
        top_QK, key_QK = np.take_along_axis(all_QC, at_QK, axis=1), np.take_along_axis(keys_QC, at_QK, axis=1)
    hits = 0
    for query_D, own, true_K, sim_K in zip(query_QD, own_Q, key_QK, top_QK, strict=True):
        near = images.nearest(query_D, depth + 1, ["key", "_distance"], probes=PROBES, refine=REFINE)
        true = set(true_K[np.isfinite(sim_K)].tolist())
        hits += len(true & (set(near.column("key").to_pylist()) - {own}))
    return Recall(recall=hits / max(1, int(np.isfinite(top_QK).sum())), depth=depth, sample=asked)


def _rows_at(images: Table, dim: int, place_Q: Ints) -> tuple[Floats, Ints]:
    """Vectors and keys of the rows at some places of the table's order."""
    vectors, keys, start = [np.empty((0, dim), np.float32)], [np.empty(0, np.int64)], 0
    for batch in images.batches(["key", "vector"]):
        row_C = place_Q[(place_Q >= start) & (place_Q < start + len(batch))] - start
        vectors.append(vectors_of(batch, dim)[row_C])
        keys.append(batch.column("key").to_numpy()[row_C])
        start += len(batch)
    return np.concatenate(vectors), np.concatenate(keys)
