"""Which words carry a match: what the similarity of image and caption loses when a word is left out.

The one idea: take each word out in turn and ask the model again (occlusion). It needs nothing but the model's own
answers, works alike for every family, and its numbers are cosines that can be compared. A word that others repeat
carries little by itself.

Shapes: N words, D joint dimensions.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastgoal.data.samples import Span
from fastgoal.embed import embed_texts
from fastgoal.explain.explanation import ExplainedWord
from fastgoal.models.retriever import Retriever

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
Floats = npt.NDArray[np.float32]


def word_spans(caption: str, reach: int | None = None) -> list[Span]:
    """Where the words of a caption are, punctuation left aside; only those that end before character `reach`."""
    spans = (match.span() for match in _WORD.finditer(caption))
    return [span for span in spans if reach is None or span[1] <= reach]


def without(caption: str, span: Span) -> str:
    """The caption with one word left out, and one of the spaces around it."""
    start, end = span
    return caption[:start] + caption[end + (caption[end : end + 1] == " ") :]


def explain_words(
    encoder: Retriever, image_D: Floats, caption: str, *, reach: int | None = None, batch: int = 64
) -> tuple[ExplainedWord, ...]:
    """Each word's weight: cosine of image and caption, less that without the word.

    Args:
        image_D: the image's embedding, unit length.
        reach: character at which the text limit cuts the caption: what lies behind it is not read, and would come into
            view whenever a word is taken out.
        batch: texts per forward pass.
    """
    seen = caption[:reach]
    spans = word_spans(seen)
    texts = [seen, *(without(seen, span) for span in spans)]
    embedding_ND = embed_texts(encoder, texts, batch=batch)[0]
    weight_N: Sequence[float] = (embedding_ND[0] @ image_D - embedding_ND[1:] @ image_D).tolist()
    return tuple(ExplainedWord(span=span, weight=weight) for span, weight in zip(spans, weight_N, strict=True))
