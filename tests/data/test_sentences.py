"""Sentence spans of captions as people and models write them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.data.sentences import split_sentences

CASES = {
    "A man stands 3.5 m from St. John's church. He waves.": ["A man stands 3.5 m from St. John's church.", "He waves."],
    "Signs read F.D.R. Drive. The clock shows 10 a.m. sharp.": [
        "Signs read F.D.R. Drive.",
        "The clock shows 10 a.m. sharp.",
    ],
    'A plate reads "ST 43337." Daytime.': ['A plate reads "ST 43337."', "Daytime."],
    "  Two cats 😀 sleep.\r\nOne is grey 👩‍👩‍👧! \n": ["Two cats 😀 sleep.", "One is grey 👩‍👩‍👧!"],
    "Un cafe\u0301 noir. Il fume\u0301.": ["Un cafe\u0301 noir.", "Il fume\u0301."],
    "- a red car\n- a blue house\n": ["- a red car", "- a blue house"],
    "Title\n\nA dog. ... \n - \n": ["Title", "A dog."],
    "no full stop at all": ["no full stop at all"],
    "A cat.It sits.": ["A cat.", "It sits."],
    "": [],
    " \r\n\t": [],
    "... -- !": [],
}


@pytest.mark.parametrize("caption", CASES)
def test_sentences_of_real_captions(caption):
    assert [caption[start:end] for start, end in split_sentences(caption)] == CASES[caption]


def test_other_languages():
    caption = "你好，世界。这是一个测试！"
    assert [caption[s:e] for s, e in split_sentences(caption, "zh")] == ["你好，世界。", "这是一个测试！"]
    assert split_sentences("Here. There.", "xx") == split_sentences("Here. There.")


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aB3.!? \r\n\t\"'(é\u0301😀👩\u200d。-"), max_size=60))
def test_spans_are_ordered_trimmed_and_lose_no_letter(caption):
    spans = split_sentences(caption)
    texts = [caption[start:end] for start, end in spans]
    assert all(text == text.strip() and any(c.isalnum() for c in text) for text in texts)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert [c for text in texts for c in text if c.isalnum()] == [c for c in caption if c.isalnum()]
