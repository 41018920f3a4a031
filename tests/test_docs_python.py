"""The Python tutorial and the page of exports, run as they stand, in an empty folder."""

import re

import pytest
from tests.pages import ROOT, blocks, follow

DOCS = ROOT / "docs"


def test_the_tutorial_works_as_it_stands(tmp_path):
    """In one process, as a person would follow it."""
    steps = blocks(DOCS / "python.md", "python")
    assert len(steps) == 10
    printed = follow("python", "\n".join(steps), tmp_path)
    assert "24 samples; " in printed
    assert "(24, 128) (24, 128)" in printed
    assert re.search(r"texts were cut at 77 tokens", printed)
    assert "48 of 48 samples have a pair" in printed
    assert re.search(r"run/model [\d.]+ \(", printed)
    assert "no-such-folder: there is no such model folder" in printed
    assert (tmp_path / "run/model/README.md").is_file()


def test_the_page_of_exports_works_as_it_stands(tmp_path):
    commands = [line for block in blocks(DOCS / "export.md", "bash") for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        follow("bash", command, tmp_path)
    (example,) = blocks(DOCS / "export.md", "python")
    assert follow("python", example, tmp_path).startswith("tensor([[")
    assert (tmp_path / "back/config.json").is_file()


@pytest.mark.parametrize("page", ["python.md", "export.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target
