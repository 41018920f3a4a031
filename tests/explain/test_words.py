"""What words carry, beside a loop that asks for one text at a time."""

import numpy as np
import pytest
from tests.explain.conftest import picture

from fastgoal.embed import embed_images, embed_text_batch
from fastgoal.explain import explain_words
from fastgoal.explain.words import in_runs, word_spans


@pytest.fixture(scope="module")
def image_D(encoder):
    return embed_images(encoder, [picture(64, 48)])[0]


def alone(encoder, text, image_D):
    return float(embed_text_batch(encoder, [text])[0][0] @ image_D)


def test_weights_equal_a_loop_over_rewritten_captions(encoder, image_D):
    words = ["a", "small", "blue", "box", "stands", "on", "the", "right", "by", "a", "green", "lamp"]
    found = explain_words(encoder, image_D, " ".join(words), batch=5)
    whole = alone(encoder, " ".join(words), image_D)
    expected = [whole - alone(encoder, " ".join(words[:i] + words[i + 1 :]), image_D) for i in range(len(words))]
    assert [" ".join(words)[slice(*word.span)] for word in found] == words
    np.testing.assert_allclose([word.weight for word in found], expected, atol=1e-6)
    assert np.std(expected) > 1e-4


def test_words_are_found_without_punctuation():
    text = "It's a well-lit room, 3 m wide (or so). Ein Käse; 红球 x"
    assert [text[slice(*span)] for span in word_spans(text)] == (
        ["It's", "a", "well-lit", "room", "3", "m", "wide", "or", "so", "Ein", "Käse", "红", "球", "x"]
    )


def test_what_is_cut_away_plays_no_part(encoder, image_D):
    caption = " ".join(f"ball{number} table lamp" for number in range(60))
    reach = int(encoder.tokenize([caption]).offsets_BT2[0, :, 1].max())
    found = explain_words(encoder, image_D, caption, reach=reach)
    seen = caption[: found[-1].span[1]]
    assert found[-1].span[1] <= reach < len(caption)
    assert not encoder.tokenize([seen]).truncated_B[0]
    first = alone(encoder, seen, image_D) - alone(encoder, seen.removeprefix("ball0 "), image_D)
    assert found[0].weight == pytest.approx(first, abs=1e-6)


def test_a_word_that_the_limit_cuts_in_two_is_not_read(encoder, image_D):
    found = explain_words(encoder, image_D, "a red ball lies", reach=8)  # in the middle of "ball"
    assert [word.span for word in found] == [(0, 1), (2, 5)]
    assert found[0].weight == pytest.approx(alone(encoder, "a red", image_D) - alone(encoder, "red", image_D), abs=1e-6)


def test_a_long_caption_is_weighed_in_runs_of_neighbours(encoder, image_D):
    spans = [(2 * n, 2 * n + 1) for n in range(300)]
    assert in_runs(spans, 300) == spans
    assert in_runs(spans, 150) == [(4 * n, 4 * n + 3) for n in range(150)]
    assert len(in_runs(spans, 149)) == 100
    text = "a red ball lies on the table"
    found = explain_words(encoder, image_D, text, most=3)
    assert [text[slice(*word.span)] for word in found] == ["a red ball", "lies on the", "table"]
    expected = alone(encoder, text, image_D) - alone(encoder, "lies on the table", image_D)
    assert found[0].weight == pytest.approx(expected, abs=1e-6)
