"""Long queries, against the rule done by hand."""

import numpy as np
import pytest

from fastgoal.embed import embed_texts
from fastgoal.errors import ConfigError
from fastgoal.search.passages import embed_query, passages_of

THINGS = ("red ball", "blue box", "green lamp", "grey dog", "white window", "brown chair", "tall tree")
SENTENCES = [f"A {thing} is {where}, by the wooden table." for thing in THINGS for where in ("on the left", "behind")]
QUERY = " ".join(SENTENCES)


def tokens(encoder, text):
    """Of a text without begin and end, however many these are."""
    return len(encoder.tokenizer(text)["input_ids"]) - 2


def spans_of(query, parts):
    starts = [query.index(part) for part in parts]
    return [(start, start + len(part)) for start, part in zip(starts, parts, strict=True)]


def test_a_short_query_stays_whole(encoder):
    embedded = embed_query(encoder, "  A red ball. A lamp. ")
    assert embedded.spans == ((0, 22),)
    np.testing.assert_array_equal(embedded.mean_D, embed_texts(encoder, ["  A red ball. A lamp. "])[0][0])


def test_sentences_are_packed_in_order_as_far_as_there_is_room(encoder):
    limit = encoder.text_limit - 2
    packed = [[SENTENCES[0]]]
    for sentence in SENTENCES[1:]:
        if tokens(encoder, " ".join([*packed[-1], sentence])) <= limit:
            packed[-1].append(sentence)
        else:
            packed.append([sentence])
    assert 1 < len(packed) < len(SENTENCES)  # there is something to pack
    assert passages_of(encoder, QUERY) == spans_of(QUERY, [" ".join(own) for own in packed])


def test_the_score_is_the_mean_over_passages_by_their_tokens(encoder):
    embedded, images_ND = embed_query(encoder, QUERY), np.random.default_rng(0).standard_normal((7, encoder.dim))
    assert len(embedded.spans) > 1
    passages = [QUERY[start:end] for start, end in embedded.spans]
    weights = [tokens(encoder, passage) for passage in passages]
    assert list(embedded.weights) == weights
    cosines_PN = [embed_texts(encoder, [passage])[0][0] @ images_ND.T for passage in passages]
    expected_N = sum(w * cosine_N for w, cosine_N in zip(weights, cosines_PN, strict=True)) / sum(weights)
    np.testing.assert_allclose(images_ND @ embedded.mean_D, expected_N, atol=1e-6)


@pytest.mark.parametrize("long", ["a ball and " * 40, "ball" * 90, "赤いボール" * 40, "a b " + "é" * 200 + " c"])
def test_a_sentence_that_is_too_long_by_itself_is_cut_but_nothing_is_lost(encoder, long):
    query = f"A lamp. {long.strip()}. A box."
    spans = passages_of(encoder, query)
    assert not encoder.tokenize([query[start:end] for start, end in spans]).truncated_B.any()
    assert "".join(query[start:end] for start, end in spans).replace(" ", "") == query.replace(" ", "")
    words = {word for start, end in spans for word in query[start:end].split()}
    if "and" in long:
        assert words <= set(query.split())  # cut between words, where there are some


@pytest.mark.parametrize("query", ["...  " * 60, "? ! " * 80])
def test_a_long_query_that_says_nothing_is_read_all_the_same(encoder, query):
    spans = passages_of(encoder, query)
    assert "".join(query[start:end] for start, end in spans).replace(" ", "") == query.replace(" ", "")


def test_an_empty_query_is_refused(encoder):
    with pytest.raises(ConfigError, match="the query is empty"):
        embed_query(encoder, " \n")
