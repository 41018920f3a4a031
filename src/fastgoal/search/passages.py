"""A query that is longer than the model's text limit, as passages that are not.

The rule: the query's sentences are packed, in order and greedily, into passages within the limit; a sentence that is
itself too long is cut at the last space within it, or between tokens where it has none. The score of an image is the
mean of its cosines with the passages, weighted by their tokens; that is one product with the weighted mean of their
embeddings,

    score = sum_p tokens_p cos(image, passage_p) / sum_p tokens_p = image . mean

so that a long query costs no more search than a short one, and nothing is cut in silence.

Shapes: P passages, D joint dimensions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgoal.data.samples import Span
from fastgoal.data.sentences import split_sentences
from fastgoal.embed import embed_texts
from fastgoal.errors import ConfigError
from fastgoal.models.retriever import Retriever

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class EmbeddedQuery:
    """A query ready to be compared.

    mean_D: one product with it is the score. spans: its passages; a single one if it is not too long. weights: tokens
    of each.
    """

    mean_D: Floats
    spans: tuple[Span, ...]
    weights: tuple[int, ...]


def embed_query(encoder: Retriever, query: str, language: str = "en") -> EmbeddedQuery:
    """Embed a query by the rule above.

    Raises:
        ConfigError: there is nothing in it.
    """
    if not query.strip():
        raise ConfigError("the query is empty", where="query", mend="Say what the image shows.")
    spans = passages_of(encoder, query, language)
    weights = tuple(_tokens(encoder, query[start:end])[0] for start, end in spans)
    passage_PD, _ = embed_texts(encoder, [query[start:end] for start, end in spans])
    mean_D: Floats = np.average(passage_PD, axis=0, weights=weights).astype(np.float32)
    return EmbeddedQuery(mean_D=mean_D, spans=tuple(spans), weights=weights)


def passages_of(encoder: Retriever, query: str, language: str = "en") -> list[Span]:
    """The passages of a query, in order: the whole of it if that is within the limit."""
    if _fits(encoder, query):
        return [(0, len(query))]
    sentences = split_sentences(query, language) or [(0, len(query))]
    passages: list[Span] = []
    for start, end in (piece for sentence in sentences for piece in _pieces(encoder, query, sentence)):
        if passages and _fits(encoder, query[passages[-1][0] : end]):
            start = passages.pop()[0]
        passages.append((start, end))
    return passages


def _pieces(encoder: Retriever, query: str, sentence: Span) -> Iterator[Span]:
    """A sentence in parts that are within the limit."""
    start, end = sentence
    while not _fits(encoder, query[start:end]):
        visible = _tokens(encoder, query[start:end])[1]
        space = max(query.rfind(mark, start, start + visible + 1) for mark in " \t\n")
        stop = space if space > start else start + visible
        while stop > start + 1 and not _fits(encoder, query[start:stop]):
            stop -= 1  # a part of a word may have more tokens by itself
        yield start, stop
        start = stop + (len(query[stop:end]) - len(query[stop:end].lstrip()))
    if start < end:
        yield start, end


def _fits(encoder: Retriever, text: str) -> bool:
    return not encoder.tokenize([text]).truncated_B[0]


def _tokens(encoder: Retriever, text: str) -> tuple[int, int]:
    """How many tokens of a text are within the limit, begin and end left out, and where its last visible character
    ends."""
    offsets_T2 = encoder.tokenize([text]).offsets_BT2[0]
    own_T2 = offsets_T2[offsets_T2[:, 1] > offsets_T2[:, 0]]
    return len(own_T2), int(own_T2[:, 1].max(initial=1))


def sentence_spans(query: str, language: str = "en") -> Sequence[Span]:
    """The sentences of a query; the whole of one that has none."""
    return split_sentences(query, language) or [(0, len(query))]
