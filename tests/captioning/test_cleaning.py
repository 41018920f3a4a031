"""What becomes of a model's answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgoal.captioning.cleaning import CleanCaption, clean_caption, one_line

PROMPT = "Describe this picture in\n one paragraph."


@pytest.mark.parametrize(
    ("written", "full", "text", "dropped", "unfinished"),
    [
        ("  A red\n\n ball.\tIt lies. ", False, "A red ball. It lies.", "", False),
        ("A red ball. It lies on", False, "A red ball. It lies on", "", False),
        ("A red ball. It lies on", True, "A red ball.", "It lies on", False),
        ("A red ball. It lies.", True, "A red ball. It lies.", "", False),
        ('A sign. It reads "Go!"', True, 'A sign. It reads "Go!"', "", False),
        ("A red ball of 3.5", True, "A red ball of 3.5", "", True),
        ("describe this picture in one paragraph. A ball.", False, "A ball.", "", False),
        ("Describe this picture in one paragraph.", False, "", "", False),
        ("A ball. Describe this picture in one paragraph.", False, "A ball. " + one_line(PROMPT), "", False),
        ("\x00 \ufffd ...", False, "", "", False),
        ("", True, "", "", False),
    ],
)
def test_cases(written, full, text, dropped, unfinished):
    expected = CleanCaption(text=text, dropped=dropped, unfinished=unfinished)
    assert clean_caption(written, prompt=PROMPT, full=full) == expected


def test_a_short_prompt_may_open_a_caption():
    assert clean_caption("A photo of a ball.", prompt="A photo").text == "A photo of a ball."


@settings(max_examples=40, deadline=None)
@given(st.text(), st.booleans())
def test_nothing_is_lost_but_space(written, full):
    made = clean_caption(written, full=full)
    assert made.text == one_line(made.text)
    kept = "".join(f"{made.text}{made.dropped}".split())
    assert made.text == "" or kept == "".join(one_line(written).split())
