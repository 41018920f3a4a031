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


def test_weights_by_hand():
    offsets = np.array([[[0, 0], [0, 1], [2, 5], [5, 6], [7, 9], [0, 0], [0, 0]]] * 4)
    weights = token_weights(offsets, [(0, 6), (7, 9), (4, 8), (20, 30)])
    assert weights.dtype == np.float32
    assert weights.tolist() == [[0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 1, 1, 0, 0], [0] * 7]
    assert not token_weights(offsets, [(3, 3)] * 4).any()


def test_batches_pad_to_their_longest_and_cut_at_the_limit(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    tail = "The last sentence."
    texts = ["red", "ball " * 75, "ball " * 75 + tail, ""]
    batch = encoder.tokenize(texts)
    assert batch.truncated_B.tolist() == [False, False, True, False]
    assert batch.attention_mask_BT.sum(dim=1).tolist() == [3, 77, 77, 2]
    end = encoder.tokenizer.eos_token_id
    assert [int(ids[length - 1]) for ids, length in zip(batch.input_ids_BT, [3, 77, 77, 2], strict=True)] == [end] * 4
    specials = (batch.input_ids_BT == end) | (batch.input_ids_BT == encoder.tokenizer.bos_token_id)
    assert not batch.offsets_BT2[specials.numpy()].any()
    assert not token_weights(batch.offsets_BT2[2:3], [(375, 375 + len(tail))]).any()  # beyond the limit
    assert encoder.tokenize(["red", "a ball"]).input_ids_BT.shape == (2, 4)
    assert len(batch) == 4


def test_what_was_cut_away_is_out_of_sight_even_without_spaces(small_clip_folder):
    """Decomposed accents make tokens wider; the last one must not reach into sentences behind the limit."""
    encoder = DualEncoder.load(small_clip_folder, text_tokens=20)
    first, second = "E\u0301漢字漢字漢字漢字漢字。", "漢字漢字e\u0301。"
    batch = encoder.tokenize([first + second])
    assert batch.truncated_B.all()
    assert token_weights(batch.offsets_BT2, [(0, len(first))]).sum() == 18
    assert not token_weights(batch.offsets_BT2, [(len(first), len(first + second))]).any()


@pytest.mark.parametrize("texts", [[], "a string"])
def test_no_list_of_texts_is_refused(small_clip_folder, texts):
    with pytest.raises(ModelError, match="no texts"):
        DualEncoder.load(small_clip_folder).tokenize(texts)
