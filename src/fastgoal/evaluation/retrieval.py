"""Retrieval: every caption finds its image, every image one of its captions.

Recall@k both ways over the whole test set. Relevance goes by image: several captions of one image are all right for it
(and each is a query of its own), while equal captions of two images are right for their own only, and then tie, which
counts against the model.

A model with a matching head can put the first candidates of each query in a new order (`rerank`).

A baseline for models with a short text limit reads a caption sentence by sentence (protocol `sentence-average`).

Shapes: Q captions, S sentences, N distinct images, D joint dimensions.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.evaluation.metrics import Embeddings, RelevantRanks, recall_at, relevant_ranks
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.reranking import expect_reranker
from fastgoal.evaluation.reranking import rerank as rerank_first
from fastgoal.evaluation.results import Direction, EvalResult, Queries, make_result
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.retriever import Retriever

_Names = npt.NDArray[np.str_]


def evaluate_retrieval(
    encoder: Retriever,
    source: Source,
    *,
    protocol: Protocol = PROTOCOLS["long-retrieval"],
    views: ViewSet | None = None,
    batch: int = 64,
    seed: int = 0,
    language: str = "en",
    rerank: int = 0,
    progress: bool = False,
) -> EvalResult:
    """Recall@k of text to image and image to text.

    Args:
        views: `ViewSet.of(source, encoder.fit)`, to decode once for several models; None decodes now and keeps nothing.
        batch: images (and four times as many texts) embedded at once.
        seed: of the bootstrap.
        language: of the captions, for cutting sentences where the protocol reads those.
        rerank: how many candidates of each query a matching head puts in a new order; 0 for none.
        progress: show a bar of re-ranking.

    Raises:
        DataError: an unreadable image, or not the number of items or captions that the protocol pins.
        ConfigError: a model, protocol or view set that do not fit together; a model that cannot re-rank.
    """
    begin = time.perf_counter()
    protocol.expect("retrieval", encoder)
    head = expect_reranker(encoder, protocol, rerank) if rerank else None
    views = ViewSet.of(source, encoder.fit, keep=False) if views is None else views
    images, image_ND = embed_gallery(encoder, source, protocol, views, batch)
    captions = [sample.caption for sample in source]
    if protocol.reading == "sentences":
        text_QD, truncated_Q = embed_by_sentence(encoder, captions, batch=4 * batch, language=language)
    else:
        text_QD, truncated_Q = embed_texts(encoder, captions, batch=4 * batch)
    found = first_ranks(source, images, text_QD, image_ND)
    if head is not None:
        place = {image: index for index, image in enumerate(images)}
        ranks = rerank_first(
            encoder,
            head,
            views,
            captions,
            np.array([place[sample.image] for sample in source]),
            (text_QD, image_ND),
            {way: own.first_Q for way, own in found.items()},
            count=rerank,
            batch=batch,
            progress=progress,
        )
        found = {way: replace(own, rank_QJ=ranks[way][:, None], wrong_Q=None) for way, own in found.items()}
    return make_result(
        encoder,
        protocol,
        recalls(source, images, found, protocol.ks),
        items=len(images),
        truncated_share=float(truncated_Q.mean()),
        seconds=time.perf_counter() - begin,
        seed=seed,
        counts={"images": len(images), "captions": len(source)},
        rerank=rerank,
    )


def embed_gallery(
    encoder: Retriever, source: Source, protocol: Protocol, views: ViewSet | None, batch: int
) -> tuple[list[str], Embeddings]:
    """The distinct images of a test set in order of first appearance, and their embeddings, N x D.

    Raises:
        DataError, ConfigError: as `evaluate_retrieval`.
    """
    images = list(dict.fromkeys(sample.image for sample in source))
    protocol.expect_items(len(images), len(source))
    views = ViewSet.of(source, encoder.fit, keep=False) if views is None else views
    views.check([(image, None) for image in images], encoder)
    return images, embed_images(encoder, views, batch=batch)


def embed_by_sentence(
    encoder: Retriever, captions: Sequence[str], *, batch: int = 256, language: str = "en"
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Captions as the mean of their sentences' unit embeddings, at unit length again (FAST-GOAL, Table XV).

    A caption that says nothing ("...") is one sentence. Returns, as `embed_texts`, Q x D and whether anything was cut.
    """
    spans = [split_sentences(caption, language) or [(0, len(caption))] for caption in captions]
    sentences = [caption[start:end] for caption, own in zip(captions, spans, strict=True) for start, end in own]
    sentence_SD, cut_S = embed_texts(encoder, sentences, batch=batch)
    first_Q = np.cumsum([0, *(len(own) for own in spans[:-1])])
    sum_QD = np.add.reduceat(sentence_SD, first_Q, axis=0)
    return sum_QD / np.linalg.norm(sum_QD, axis=1, keepdims=True), np.logical_or.reduceat(cut_S, first_Q)


def first_ranks(
    source: Source, images: Sequence[str], text_QD: Embeddings, image_ND: Embeddings
) -> dict[Direction, RelevantRanks]:
    """The first relevant rank of every caption among the images, and of every image among the captions."""
    image_Q, image_N = np.array([sample.image for sample in source]), np.array(images)
    return {
        "t2i": relevant_ranks(text_QD, image_ND, image_Q, image_N, wrong=True),
        "i2t": relevant_ranks(image_ND, text_QD, image_N, image_Q, wrong=True),
    }


def recalls(
    source: Source, images: Sequence[str], found: Mapping[Direction, RelevantRanks], ks: tuple[int, ...]
) -> dict[Direction, Queries]:
    """R@k both ways, from the first relevant ranks of the captions and of the images."""
    id_Q, image_Q, image_N = np.array([s.id for s in source]), np.array([s.image for s in source]), np.array(images)
    return {
        "t2i": _recalls(id_Q, image_Q, image_N, found["t2i"], ks),
        "i2t": _recalls(image_N, image_N, id_Q, found["i2t"], ks),
    }


def _recalls(ids_Q: _Names, image_Q: _Names, item_N: _Names, found: RelevantRanks, ks: tuple[int, ...]) -> Queries:
    wrong = found.wrong_Q
    return Queries(
        id_Q=ids_Q,
        image_Q=image_Q,
        rank_Q=found.first_Q,
        values={f"R@{k}": recall_at(found.first_Q, k) for k in ks},
        wrong_Q=None if wrong is None else np.where(wrong < 0, "", item_N[wrong]),
    )
