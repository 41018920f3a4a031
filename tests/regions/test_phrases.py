"""Phrases of captions, checked by hand."""

import pytest

from fastgoal.regions.phrases import candidate_phrases


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A small blue box stands next to a green lamp.", ["small blue box", "green lamp"]),
        ("The red ball. A RED BALL, and another red ball; trees", ["red ball", "trees"]),
        ("In the middle there is a dog's wooden house (painted).", ["dog's wooden house", "painted"]),
        ("St. John's church is 3.5 m away, at no. 7 on a T-shaped square.", ["st", "john's church", "t-shaped square"]),
        ("Well-worn, old\nleather", ["well-worn", "old leather"]),
        ("one two three four five six seven eight", ["three four five six seven eight"]),
        ("It is what it is; 12 34.", []),
        (" ... ", []),
    ],
)
def test_phrases_are_runs_of_content_words(caption, phrases):
    assert candidate_phrases(caption, 99) == phrases


def test_at_most_so_many_and_the_first_ones():
    caption = "dogs, cats, dogs, mice, owls"
    assert candidate_phrases(caption, 99) == ["dogs", "cats", "mice", "owls"]
    assert candidate_phrases(caption, 3) == ["dogs", "cats", "mice"]


def test_every_phrase_stands_in_the_caption():
    caption = "Behind the old barn, two brown horses drink; a girl in a yellow raincoat watches them."
    phrases = candidate_phrases(caption, 99)
    assert phrases == ["old barn", "two brown horses drink", "girl", "yellow raincoat watches"]
    assert all(phrase in caption.lower() for phrase in phrases)
