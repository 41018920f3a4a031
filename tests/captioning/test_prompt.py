"""A prompt as it stands, or from a file."""

import pytest

from fastgoal.captioning import PROMPT, read_prompt
from fastgoal.errors import DataError


def test_a_prompt_is_itself_or_in_a_file(tmp_path):
    (tmp_path / "prompt.txt").write_text("\ufeffWhat is there?\n", encoding="utf-8")
    (tmp_path / "prompt").write_text("And here?")
    assert read_prompt(str(tmp_path / "prompt.txt")) == "What is there?"
    assert read_prompt(str(tmp_path / "prompt")) == "And here?"
    for prompt in ("What is there?", "Look at a.txt", PROMPT * 40, ""):
        assert read_prompt(prompt) == prompt


def test_files_that_are_no_prompt(tmp_path):
    (tmp_path / "empty.txt").write_text(" ")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name, says in (("no.txt", "No such file"), ("empty.txt", "is empty"), ("bytes.txt", "not UTF-8")):
        with pytest.raises(DataError, match=says):
            read_prompt(str(tmp_path / name))


def test_the_default_asks_for_what_the_paper_lists():
    for word in ("object", "where", "colour", "material", "happening", "surroundings", "people", "light", "text"):
        assert word in PROMPT
