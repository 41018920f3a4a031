"""Retrieval metrics as pure functions of embeddings: who is relevant goes by group id, never by what a text says.

The one idea: for a query with relevant items R, the rank of the j-th best of them is

    rank_j = (number of non-relevant items with score >= its score) + j,

so ties count against the model, and Recall@k and AP@k need a few scores and counts per query instead of a sorted list.
Scores are made in strips of some queries against all items: memory grows with the strip, never with queries x items.

    Recall@k = [rank_1 <= k]        AP@k = (sum over j with rank_j <= k of j / rank_j) / |R|        (as in the papers)

Intervals resample images, not queries: the captions of one image stand or fall together.

An image may have several vectors (BLIP-2's has one per query token); its score is then that of the best of them.

Shapes: Q queries, N items, K vectors of each, D embedding size, B queries of one strip, W items of one chunk,
R relevant items of a query (padded), J ranks kept per query, M metrics, C clusters, U distinct clusters, S resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.errors import DataError, ModelError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Embeddings = npt.NDArray[np.float32] | torch.Tensor

NO_RANK = int(np.iinfo(np.int64).max)
"""Stands where a query has fewer relevant items than ranks were asked for."""

_STRIP = 1 << 22  # scores of one strip; 16 MiB, more where `_LEAST` rows need it
# Scores compared at once: 8 MiB, near enough to the processor's cache. Smaller chunks are no faster on an idle machine,
# and on a busy one several threads wait for each other at the end of every chunk.
_CACHED = 1 << 21
# Narrow matrix products take other kernels, in which equal items may get unequal scores, so that ties would go unseen
# (measured: below 32 rows or columns); and a product of few rows over many items is slow.
_LEAST = 64


@dataclass(frozen=True, kw_only=True)
class RelevantRanks:
    """Where the relevant items of each query stand.

    rank_QJ: rank of the j-th best relevant item, from 1; `NO_RANK` beyond the number of relevant items.
    relevant_Q: number of relevant items of each query, also where more than J.
    wrong_Q: index of the item with the highest score among those that are not relevant, -1 where there is none; what
        comes first wherever the first rank is not 1. None if it was not asked for.
    """

    rank_QJ: Ints
    relevant_Q: Ints
    wrong_Q: Ints | None = None

    @property
    def first_Q(self) -> Ints:
        """Rank of the best relevant item."""
        return self.rank_QJ[:, 0]


def relevant_ranks(
    query_QD: Embeddings,
    item_ND: Embeddings,
    query_group_Q: npt.ArrayLike,
    item_group_N: npt.ArrayLike,
    *,
    depth: int = 1,
    block: int | None = None,
    wrong: bool = False,
) -> RelevantRanks:
    """Ranks of the `depth` best relevant items of every query, ties counted against them.

    Args:
        query_QD, item_ND: embeddings, float32; scores are their inner products (cosines, where both have length one).
            Either may be Q x K x D (N x K x D), and the greatest of the products counts.
        query_group_Q, item_group_N: ids; an item is relevant for the queries of its own group.
        depth: relevant items ranked per query; 1 is enough for recall, k for AP@k.
        block: queries per strip; None fits the strip to the processor's memory.
        wrong: find the best item that is not relevant as well (adds some percent to the time).

    Raises:
        DataError: shapes that do not match, or a query without a relevant item.
        ModelError: embeddings that are not finite (they would win every comparison).
    """
    query, item = _checked(query_QD, "query"), _checked(item_ND, "item")
    groups = _Groups.of(query_group_Q, item_group_N, len(query), len(item))
    rank_QJ = np.full((len(query), min(depth, int(groups.count_Q.max(initial=1)))), NO_RANK, dtype=np.int64)
    wrong_Q = np.empty(len(query), dtype=np.int64) if wrong else None
    for part, scores_BN in score_strips(query, item, block=block):
        ranks_BJ = _strip_ranks(scores_BN, groups, part, depth)
        rank_QJ[part, : ranks_BJ.shape[1]] = ranks_BJ
        if wrong_Q is not None:
            wrong_Q[part] = _best_wrong(scores_BN, groups, part)
    return RelevantRanks(rank_QJ=rank_QJ, relevant_Q=groups.count_Q, wrong_Q=wrong_Q)


def score_strips(
    query_QD: Embeddings, item_ND: Embeddings, *, block: int | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Scores of some queries with all items, B x N, and which queries these are, until all had their turn.

    The tensor is overwritten for the next strip. Arguments and errors as in `relevant_ranks`.
    """
    query, item = _checked(query_QD, "query"), _checked(item_ND, "item")
    vectors, others = _vectors(query), _vectors(item)
    strip = min(1024, _STRIP // (vectors * len(item) * others))
    rows = max(-(-_LEAST // vectors), block or strip)
    padded_ND = _at_least(item.flatten(0, -2), _LEAST)
    scores_BN = torch.empty(rows * vectors, len(padded_ND), dtype=item.dtype, device=item.device)
    for start in range(0, len(query), rows):
        part = slice(start, min(start + rows, len(query)))
        torch.mm(_at_least(query[part].to(item.device).flatten(0, -2), rows * vectors), padded_ND.T, out=scores_BN)
        asked_BN = scores_BN[: (part.stop - start) * vectors, : len(item) * others]
        yield part, _best_vectors(asked_BN, vectors, others)


def _vectors(embeddings: torch.Tensor) -> int:
    return embeddings.shape[1] if embeddings.ndim == 3 else 1


def _best_vectors(scores: torch.Tensor, of_query: int, of_item: int) -> torch.Tensor:
    """Scores of every vector with every vector as B x N: the greatest of each query and item."""
    if of_query == of_item == 1:
        return scores
    queries, items = scores.shape[0] // of_query, scores.shape[1] // of_item
    return scores.reshape(queries, of_query, items, of_item).amax((1, 3))


def _strip_ranks(scores_BN: torch.Tensor, groups: "_Groups", part: slice, depth: int) -> Ints:
    """Ranks of the `depth` best relevant items of the queries of one strip, B x J."""
    index_BR, valid_BR = (torch.as_tensor(array, device=scores_BN.device) for array in groups.relevant(part))
    own_BR = scores_BN.gather(1, index_BR).masked_fill(~valid_BR, -torch.inf).sort(1, descending=True).values
    own_BJ = own_BR[:, :depth].contiguous()
    others_BJ = _count_reaching(scores_BN, own_BJ) - _count_reaching(own_BR, own_BJ)
    ranks_BJ = others_BJ + torch.arange(1, own_BJ.shape[1] + 1, device=own_BJ.device)
    return ranks_BJ.masked_fill(own_BJ == -torch.inf, NO_RANK).cpu().numpy()


def _best_wrong(scores_BN: torch.Tensor, groups: "_Groups", part: slice) -> Ints:
    """The best item of each query of a strip that is not relevant, or -1. The scores of those that are get lost."""
    index_BR, valid_BR = groups.relevant(part)
    own_BR = torch.as_tensor(np.where(valid_BR, index_BR, index_BR[:, :1]), device=scores_BN.device)
    best_B, item_B = scores_BN.scatter_(1, own_BR, -torch.inf).max(1)
    return item_B.masked_fill(best_B == -torch.inf, -1).cpu().numpy()


def _count_reaching(scores_BN: torch.Tensor, own_BJ: torch.Tensor) -> torch.Tensor:
    """How many scores of each row are at least as high as each of its own, int64 B x J."""
    width = max(1024, _CACHED // len(scores_BN))
    scratch_BW = scores_BN.new_empty(len(scores_BN), min(width, scores_BN.shape[1]))
    count_BJ = torch.zeros(own_BJ.shape, dtype=torch.int64, device=own_BJ.device)
    for chunk_BW in torch.split(scores_BN, width, dim=1):
        for j in range(own_BJ.shape[1]):
            # Ones and zeros as floats: several times faster to sum than booleans, and exact for a chunk's few items.
            reached_BW = torch.ge(chunk_BW, own_BJ[:, j : j + 1], out=scratch_BW[:, : chunk_BW.shape[1]])
            count_BJ[:, j] += reached_BW.sum(1).long()
    return count_BJ


@dataclass(frozen=True)
class _Groups:
    """Items by group: those of query q are `order[start_Q[q] : start_Q[q] + count_Q[q]]`."""

    order: Ints
    start_Q: Ints
    count_Q: Ints

    @staticmethod
    def of(query_group_Q: npt.ArrayLike, item_group_N: npt.ArrayLike, queries: int, items: int) -> "_Groups":
        query, item = np.asarray(query_group_Q), np.asarray(item_group_N)
        if query.shape != (queries,) or item.shape != (items,):
            what = f"{queries} queries and {items} items came with group ids of shape {query.shape} and {item.shape}"
            raise DataError(what, mend="Give one group id per query and per item.")
        order = np.argsort(item, kind="stable")
        sorted_N = item[order]
        first, last = (np.searchsorted(sorted_N, query, side) for side in ("left", "right"))
        if (last == first).any():
            lonely = int(np.argmax(last == first))
            what = f"query {lonely} (group {query[lonely]!r}) has no relevant item"
            raise DataError(what, mend="Leave such queries out, or add the item of their group.")
        return _Groups(order, first, last - first)

    def relevant(self, part: slice) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Item indices of the queries of a strip, B x R, and which of them are not padding."""
        start_B, count_B = self.start_Q[part], self.count_Q[part]
        valid_BR = np.arange(count_B.max()) < count_B[:, None]
        return self.order[np.where(valid_BR, start_B[:, None] + np.arange(count_B.max()), 0)], valid_BR


def _checked(embeddings: Embeddings, kind: str) -> torch.Tensor:
    tensor = torch.as_tensor(embeddings)
    if tensor.ndim not in (2, 3) or not len(tensor):
        raise DataError(
            f"{kind} embeddings of shape {tuple(tensor.shape)} cannot be ranked", mend="Give at least one row."
        )
    if not torch.isfinite(tensor.sum()):
        raise ModelError(f"{kind} embeddings are not finite", mend="The model has diverged; use an earlier checkpoint.")
    return tensor


def _at_least(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.nn.functional.pad(tensor, (0, 0, 0, rows - len(tensor))) if len(tensor) < rows else tensor


def first_relevant_rank(
    query_QD: Embeddings,
    item_ND: Embeddings,
    query_group_Q: npt.ArrayLike,
    item_group_N: npt.ArrayLike,
    *,
    block: int | None = None,
) -> Ints:
    """Rank, from 1, of the best relevant item of every query. Arguments and errors as in `relevant_ranks`."""
    return relevant_ranks(query_QD, item_ND, query_group_Q, item_group_N, block=block).first_Q


def recall_at(rank_Q: Ints, k: int) -> Floats:
    """1 for every query whose first relevant item is among its k best, else 0 (also called Success@k)."""
    return (rank_Q <= k).astype(np.float64)


def average_precision(ranks: RelevantRanks, k: int = 10) -> Floats:
    """AP@k of every query, divided by the number of *all* its relevant items, also where that is more than k.

    `ranks` has to hold min(k, number of relevant items) ranks per query: `relevant_ranks(..., depth=k)`.
    """
    rank_QJ = ranks.rank_QJ[:, :k]
    precision_QJ = np.where(rank_QJ <= k, np.arange(1, rank_QJ.shape[1] + 1) / rank_QJ, 0.0)
    return np.asarray(precision_QJ.sum(1) / ranks.relevant_Q, dtype=np.float64)


def bootstrap_ci(
    values: npt.ArrayLike, clusters_Q: npt.ArrayLike, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Floats:
    """Percentile bootstrap interval of the mean, resampling whole clusters (all queries of one image together).

    Args:
        values: one value per query, Q, or several metrics of the same queries, Q x M (resampled together).
        clusters_Q: ids; queries with equal ids are drawn together.

    Returns: low and high end, shape (2,) or M x 2; too narrow for a handful of clusters, or where all values agree.
    """
    values_QM = np.asarray(values, dtype=np.float64)
    means_SM = _resampled_means(values_QM.reshape(len(values_QM), -1), clusters_Q, resamples, seed)
    ends_2M = np.quantile(means_SM, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(ends_2M.T if values_QM.ndim == 2 else ends_2M[:, 0])


def paired_bootstrap(
    a_Q: npt.ArrayLike, b_Q: npt.ArrayLike, clusters_Q: npt.ArrayLike, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Mean of a - b over the same queries, with its 95 % interval: both models see the same resampled images.

    Raises:
        DataError: a and b are not values of the same queries.
    """
    a, b = np.asarray(a_Q, dtype=np.float64), np.asarray(b_Q, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError(
            f"values of {len(a)} and {len(b)} queries cannot be paired", mend="Evaluate both on the same data."
        )
    low, high = bootstrap_ci(a - b, clusters_Q, resamples=resamples, seed=seed)
    return float((a - b).mean()), (float(low), float(high))


def _resampled_means(values_QM: Floats, clusters_Q: npt.ArrayLike, resamples: int, seed: int) -> Floats:
    """Means of `resamples` draws of as many clusters as there are, S x M.

    Drawing C clusters with replacement is a multinomial draw over the distinct cluster totals, and those are few (a
    recall has two values), so a million queries cost little more than a thousand.
    """
    cluster_Q = np.unique(np.asarray(clusters_Q), return_inverse=True)[1].reshape(-1)
    columns = [np.ones(len(values_QM)), *values_QM.T]
    totals_CM = np.stack([np.bincount(cluster_Q, weights=column) for column in columns], 1)
    totals_UM, count_U = np.unique(totals_CM, axis=0, return_counts=True)
    rng, clusters = np.random.default_rng(seed), len(totals_CM)
    chunk = max(1, _STRIP // len(totals_UM))
    sums = [
        rng.multinomial(clusters, count_U / clusters, size=min(chunk, resamples - start)) @ totals_UM
        for start in range(0, resamples, chunk)
    ]
    sums_SM = np.concatenate(sums)
    return np.asarray(sums_SM[:, 1:] / sums_SM[:, :1])
