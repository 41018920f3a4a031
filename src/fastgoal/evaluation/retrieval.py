"""Retrieval: every caption finds its image, every image one of its captions.

Recall@k both ways over the whole test set. Relevance goes by image: several captions of one image are all right for it
(and each is a query of its own), while equal captions of two images are right for their own only, and then tie, which
counts against the model.

A baseline for models with a short text limit reads a caption sentence by sentence (protocol `sentence-average`).

Shapes: Q captions, S sentences, N distinct images, D joint dimensions.
"""

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastgoal.data.sentences import split_sentences
from fastgoal.data.source import Source
from fastgoal.embed import embed_images, embed_texts
from fastgoal.evaluation.metrics import Embeddings, first_relevant_rank, recall_at
from fastgoal.evaluation.protocols import PROTOCOLS, Protocol
from fastgoal.evaluation.results import Direction, EvalResult, Queries, make_result
from fastgoal.evaluation.views import ViewSet
from fastgoal.models.retriever import Retriever


def evaluate_retrieval(
    encoder: Retriever,
    source: Source,
    *,
    protocol: Protocol = PROTOCOLS["long-retrieval"],
    views: ViewSet | None = None,
    batch: int = 64,
    seed: int = 0,
    language: str = "en",
) -> EvalResult:
    """Recall@k of text to image and image to text.

    Args:
        views: `ViewSet.of(source, encoder.fit)`, to decode once for several models; None decodes now and keeps nothing.
        batch: images (and four times as many texts) embedded at once.
        seed: of the bootstrap.
        language: of the captions, for cutting sentences where the protocol reads those.

    Raises:
        DataError: an unreadable image, or not the number of items or captions that the protocol pins.
        ConfigError: a model, protocol or view set that do not fit together.
    """
    begin = time.perf_counter()
    protocol.expect("retrieval", encoder)
    images, image_ND = embed_gallery(encoder, source, protocol, views, batch)
    captions = [sample.caption for sample in source]
    if protocol.reading == "sentences":
        text_QD, truncated_Q = embed_by_sentence(encoder, captions, batch=4 * batch, language=language)
    else:
        text_QD, truncated_Q = embed_texts(encoder, captions, batch=4 * batch)
    return make_result(
        encoder,
        protocol,
        recalls(source, images, text_QD, image_ND, protocol.ks),
        items=len(images),
        truncated_share=float(truncated_Q.mean()),
        seconds=time.perf_counter() - begin,
        seed=seed,
        counts={"images": len(images), "captions": len(source)},
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


def recalls(
    source: Source, images: Sequence[str], text_QD: Embeddings, image_ND: Embeddings, ks: tuple[int, ...]
) -> dict[Direction, Queries]:
    """R@k of every caption among the images, and of every image among the captions."""
    id_Q, image_Q, image_N = np.array([s.id for s in source]), np.array([s.image for s in source]), np.array(images)
    return {
        "t2i": _recalls(text_QD, image_ND, image_Q, image_N, id_Q, ks),
        "i2t": _recalls(image_ND, text_QD, image_N, image_Q, image_N, ks),
    }


def _recalls(
    query_QD: Embeddings,
    item_ND: Embeddings,
    image_Q: npt.NDArray[np.str_],
    image_N: npt.NDArray[np.str_],
    id_Q: npt.NDArray[np.str_],
    ks: tuple[int, ...],
) -> Queries:
    rank_Q = first_relevant_rank(query_QD, item_ND, image_Q, image_N)
    values = {f"R@{k}": recall_at(rank_Q, k) for k in ks}
    return Queries(id_Q=id_Q, image_Q=image_Q, rank_Q=rank_Q, values=values)
