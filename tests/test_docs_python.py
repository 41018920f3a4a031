"""The Python tutorial and the page of exports, run as they stand, in an empty folder."""

import re
import sys
from pathlib import Path

import pytest
from tests.test_readme import run

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_tutorial_works_as_it_stands(tmp_path):
    """In one process, as a person would follow it."""
    steps = blocks("python.md", "python")
    assert len(steps) == 10
    printed = run([sys.executable, "-c", "\n".join(steps)], tmp_path)
    assert "24 samples; " in printed
    assert "(24, 128) (24, 128)" in printed
    assert re.search(r"texts were cut at 77 tokens", printed)
    assert "48 of 48 samples have a pair" in printed
    assert re.search(r"run/model [\d.]+ \(", printed)
    assert "no-such-folder: there is no such model folder" in printed
    assert (tmp_path / "run/model/README.md").is_file()


def test_the_page_of_exports_works_as_it_stands(tmp_path):
    commands = [line for block in blocks("export.md", "bash") for line in block.splitlines()]
    assert len(commands) == 4
    script = "import shlex, sys\nfrom fastgoal.cli import main\nfor line in sys.argv[1:]:\n    try:\n        "
    script += "main(shlex.split(line)[1:])\n    except SystemExit as end:\n        assert not end.code"
    run([sys.executable, "-c", script, *commands], tmp_path)  # one process for all, which starts in seconds
    (example,) = blocks("export.md", "python")
    assert run([sys.executable, "-c", example], tmp_path).startswith("tensor([[")
    assert (tmp_path / "back/config.json").is_file()


@pytest.mark.parametrize("page", ["python.md", "export.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target
