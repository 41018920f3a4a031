"""Token offsets and token weights against the caption's own characters."""

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastgoal.errors import ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import token_weights

PIECES = [
    "A red ball",
    "café",
    "cafe\u0301",
    "E\u0301te\u0301",
    "🎈",
    "👨‍👩‍👧",
    "İstanbul",
    "ﬁne",
    "3.5",
    "St. John's",
    "각",
    "\u1100\u1161\u11a8",
]
PIECES += [
    "...",
    "!?",
    '"quoted"',
    "ka\u0301\u0323",
    "漢字",
    "नमस्ते",
    "e\u0301\u0302",
    "\u212b",
    "don't",
    "x\u200by",
    "שָׁלוֹם",
]
SPACES = [" ", "  ", "\r\n", "\n\n", "\t", " \u00a0 ", "\u3000"]
sentences = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), min_size=1, max_size=5).map(" ".join)
captions = st.lists(st.tuples(sentences, st.sampled_from(SPACES)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def encoder(small_clip_folder):
    return cache(DualEncoder.load)(small_clip_folder, text_tokens=400)


def seen(batch, row, weights_T):
    """Places of the caption's characters behind the tokens of weight 1."""
    return {
        place
        for weight, (s, e) in zip(weights_T, batch.offsets_BT2[row], strict=True)
        if weight
        for place in range(s, e)
    }


def letters(caption, span):
    return {place for place in range(*span) if not re.match(r"\s", caption[place])}


@settings(max_examples=300, deadline=None)
@given(parts=captions)
@example(parts=[("A red ball lies here.", "  "), ("Été: 🎈🎈.", "\r\n"), ("E\u0301te\u0301 is late.", " ")])
def test_spans_cover_the_sentence_and_nothing_else(encoder, parts):
    caption, spans = "", []
    for text, space in parts:
        spans.append((len(caption), len(caption) + len(text)))
        caption += text + space
    batch = encoder.tokenize([caption] * len(spans))
    if batch.truncated_B.any():
        return
    for row, (weights_T, span) in enumerate(zip(token_weights(batch.offsets_BT2, spans), spans, strict=True)):
        places = {place for place in seen(batch, row, weights_T) if not re.match(r"\s", caption[place])}
        assert places == letters(caption, span), (caption, span)
