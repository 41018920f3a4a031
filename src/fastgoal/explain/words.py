"""Which words carry a match: what the similarity of image and caption loses when a word is left out.

The one idea: take each word out in turn and ask the model again (occlusion). It needs nothing but the model's own
answers, works alike for every family, and its numbers are cosines that can be compared. A word that others repeat
carries little by itself.

Shapes: N words (or runs of words), D joint dimensions.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastgoal.data.samples import Span
from fastgoal.embed import embed_texts
from fastgoal.explain.explanation import ExplainedWord
from fastgoal.models.retriever import Retriever

MOST = 150
"""Texts that are embedded for one caption: a paragraph of 300 words is weighed in pairs of neighbours, at half cost."""
_ONE_BY_ONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and Han, which have no spaces between words
_WORD = re.compile(rf"[{_ONE_BY_ONE}]|[^\W_{_ONE_BY_ONE}]+(?:['’-][^\W_{_ONE_BY_ONE}]+)*")
Floats = npt.NDArray[np.float32]


def word_spans(caption: str, reach: int | None = None) -> list[Span]:
    """Where the words of a caption are, punctuation left aside; only those that end by character `reach`."""
    spans = (match.span() for match in _WORD.finditer(caption))
    return [span for span in spans if reach is None or span[1] <= reach]


def in_runs(spans: Sequence[Span], most: int) -> list[Span]:
    """The words, or, where they are more than `most`, runs of as few neighbours each as makes them no more."""
    size = max(1, -(-len(spans) // most))
    runs = (spans[start : start + size] for start in range(0, len(spans), size))
    return [(run[0][0], run[-1][1]) for run in runs]


def without(caption: str, span: Span) -> str:
    """The caption with a word left out, and one of the spaces around it."""
    start, end = span
    return caption[:start] + caption[end + (caption[end : end + 1] == " ") :]


def explain_words(
    encoder: Retriever, image_D: Floats, caption: str, *, reach: int | None = None, most: int = MOST, batch: int = 64
) -> tuple[ExplainedWord, ...]:
    """Each word's weight: cosine of image and caption, less that without the word.

    Args:
        image_D: the image's embedding, unit length.
        reach: character at which the text limit cuts the caption. What lies behind it is not read, and would come into
            view whenever a word is taken out; nor is a word weighed that is cut in two.
        most: texts to embed at most; of longer captions several words are weighed together.
        batch: texts per forward pass.
    """
    spans = in_runs(word_spans(caption, reach), most)
    seen = caption if reach is None else caption[: _whole(caption, reach)]
    texts = [seen, *(without(seen, span) for span in spans)]
    embedding_ND = embed_texts(encoder, texts, batch=batch)[0]
    weight_N: Sequence[float] = (embedding_ND[0] @ image_D - embedding_ND[1:] @ image_D).tolist()
    return tuple(ExplainedWord(span=span, weight=weight) for span, weight in zip(spans, weight_N, strict=True))


def _whole(caption: str, reach: int) -> int:
    """`reach`, or the beginning of the word that it cuts in two: half a word would be read as another word."""
    return next((match.start() for match in _WORD.finditer(caption) if match.start() < reach < match.end()), reach)
