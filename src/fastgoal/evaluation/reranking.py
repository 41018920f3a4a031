"""Re-ranking: a model that can read an image and a text together puts the first K candidates of each query in a new
order (BLIP-2, arXiv 2301.12597, section 4.4, with K = 128).

As in BLIP-2's released evaluation, the new score of a candidate is the matching head's logit plus the similarity by
which it became one. The others stay behind the K, in the order of their similarity, so the first relevant rank is

    1 + (number of wrong candidates with a new score >= that of the best relevant candidate)

where a relevant item is among the K, and what it was before where none is. Ties count against the model in both steps:
of items with equal similarity the wrong ones become candidates first.

What the head sees of an image is large (1.4 MB for BLIP-2's ViT-g), so all pairs of an image, of both directions, are
scored while it is at hand, and it is not kept: memory grows with the batch, never with the test set.

Shapes: Q queries, N items, K candidates of each, U distinct texts, D joint dimensions, B queries of one strip,
P distinct pairs of an image and a text, C channels, H x W pixels, S positions and V width of what the head sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.embed import inference, pixel_batches
from fastgoal.errors import ConfigError, ModelError
from fastgoal.evaluation.metrics import Embeddings, Floats, Ints, score_strips
from fastgoal.evaluation.protocols import Protocol
from fastgoal.evaluation.results import Direction
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.retriever import Reranker, Retriever
from fastgoal.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The items that come first for each query: their indices, their similarities, and whether they are relevant."""

    item_QK: Ints
    similarity_QK: Floats
    relevant_QK: npt.NDArray[np.bool_]

    def ranks(self, score_QK: Floats, before_Q: Ints) -> Ints:
        """The first relevant rank of every query, from 1, by new scores of the candidates; `before_Q` are those by
        similarity."""
        best_Q = np.where(self.relevant_QK, score_QK, -np.inf).max(1)
        ahead_Q = (~self.relevant_QK & (score_QK >= best_Q[:, None])).sum(1)
        return np.where(self.relevant_QK.any(1), 1 + ahead_Q, before_Q)


def first_candidates(query_QD: Embeddings, item_ND: Embeddings, group_Q: Ints, group_N: Ints, count: int) -> Candidates:
    """The `count` most similar items of every query (all, where there are no more); of equal ones the wrong ones first.

    Args:
        query_QD, item_ND: embeddings as in `relevant_ranks`.
        group_Q, group_N: numbers; an item is relevant for the queries of its own group.
    """
    shape = len(query_QD), min(count, len(item_ND))
    found = Candidates(
        item_QK=np.empty(shape, np.int64), similarity_QK=np.empty(shape), relevant_QK=np.empty(shape, np.bool_)
    )
    below, item_group_N = torch.tensor(-torch.inf, dtype=torch.float64), torch.as_tensor(group_N)
    for part, scores_BN in score_strips(query_QD, item_ND):
        similarity_BN = scores_BN.double().cpu()
        relevant_BN = torch.as_tensor(group_Q[part])[:, None] == item_group_N
        # The next float64 below lies above the next float32: behind its equals and before all others.
        order_BN = torch.where(relevant_BN, torch.nextafter(similarity_BN, below), similarity_BN)
        item_BK = order_BN.topk(shape[1], dim=1).indices
        found.item_QK[part] = item_BK.numpy()
        found.similarity_QK[part] = similarity_BN.gather(1, item_BK).numpy()
        found.relevant_QK[part] = relevant_BN.gather(1, item_BK).numpy()
    return found


def expect_reranker(encoder: Retriever, protocol: Protocol, count: int) -> Reranker:
    """The model as one that can re-rank.

    Raises:
        ConfigError: it cannot, or this protocol has nothing to re-rank, or no count.
    """
    if count < 1:
        raise ConfigError(f"{count} candidates", where="rerank", mend="Use 1 or more, or leave it out.")
    if protocol.reading == "sentences":
        what = "captions that are read sentence by sentence cannot be re-ranked"
        raise ConfigError(what, where=f"protocol {protocol.name}", mend="Leave out --rerank, or use another protocol.")
    if not isinstance(encoder, Reranker):
        what = f"{encoder.traits.title} has no matching head, so that it cannot re-rank"
        mend = "Leave out --rerank, or use a BLIP-2 for image-text retrieval."
        raise ConfigError(what, where=encoder.name, mend=mend)
    return encoder


def rerank(
    encoder: Retriever,
    head: Reranker,
    views: ViewSet,
    captions: Sequence[str],
    image_Q: Ints,
    embeddings: tuple[Embeddings, Embeddings],
    before: Mapping[Direction, Ints],
    *,
    count: int,
    batch: int = 64,
    progress: bool = False,
) -> dict[Direction, Ints]:
    """The first relevant rank of every caption and of every image after re-ranking.

    Equal captions are scored once, so that they have exactly equal scores.

    Args:
        encoder, head: the same model, as what embeds and as what `expect_reranker` found.
        views: of the N images, in order.
        image_Q: which image each caption belongs to.
        embeddings: of the captions and of the images, text_QD and image_ND.
        before: the ranks by similarity.
        count: K. batch: images seen at once, and pairs scored at once. progress: show a bar.

    Raises:
        ModelError: scores that are not finite.
    """
    text_QD, image_ND = embeddings
    image_N = np.arange(len(image_ND))
    t2i = first_candidates(text_QD, image_ND, image_Q, image_N, count)
    i2t = first_candidates(image_ND, text_QD, image_N, image_Q, count)
    texts_U = sorted(set(captions), key=lambda text: (-len(text), text))
    place = {text: index for index, text in enumerate(texts_U)}
    text_Q = np.array([place[caption] for caption in captions])
    t2i_QK = t2i.item_QK * len(texts_U) + text_Q[:, None]
    i2t_NK = image_N[:, None] * len(texts_U) + text_Q[i2t.item_QK]
    pair_P = np.unique(np.concatenate([t2i_QK.ravel(), i2t_NK.ravel()]))
    logit_P = score_pairs(encoder, head, views, texts_U, pair_P, batch=batch, progress=progress)
    return {
        "t2i": t2i.ranks(logit_P[np.searchsorted(pair_P, t2i_QK)] + t2i.similarity_QK, before["t2i"]),
        "i2t": i2t.ranks(logit_P[np.searchsorted(pair_P, i2t_NK)] + i2t.similarity_QK, before["i2t"]),
    }


def score_pairs(
    encoder: Retriever,
    head: Reranker,
    views: ViewSet,
    texts_U: Sequence[str],
    pair_P: Ints,
    *,
    batch: int = 64,
    progress: bool = False,
) -> Floats:
    """The logit of every asked pair; each image is seen once, and read with every text that it is asked with.

    Args:
        texts_U: distinct texts, similar lengths side by side.
        pair_P: `image * U + text` of every pair, sorted and distinct.

    The other arguments and errors are as in `rerank`.
    """
    image_P, text_P = np.divmod(pair_P, len(texts_U))
    logit_P, first = np.empty(len(pair_P)), 0
    with inference(encoder), Progress(len(pair_P), "re-ranking", "pair", show=progress) as bar:
        for pixels_BCHW in pixel_batches(encoder, views, batch):
            seen_BSV = head.see_images(pixels_BCHW)
            low, high = np.searchsorted(image_P, [first, first + len(pixels_BCHW)])
            by_length = low + np.argsort(text_P[low:high], kind="stable")
            for start in range(0, len(by_length), batch):
                part = by_length[start : start + batch]
                texts = encoder.tokenize([texts_U[text] for text in text_P[part]]).to(encoder.device)
                rows = torch.from_numpy(image_P[part] - first).to(encoder.device)
                logit_P[part] = head.rerank(seen_BSV[rows], texts).double().cpu().numpy()
                bar.update(len(part))
            first += len(pixels_BCHW)
    if not np.isfinite(logit_P).all():
        raise ModelError("matching scores are not finite", where=encoder.name, mend="Use another checkpoint.")
    return logit_P
