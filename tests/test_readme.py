"""The README's commands, run as they stand in an empty folder, but for the two `make` lines and the activation."""

import re

import pytest
from tests.pages import ROOT, blocks, follow, run

README = ROOT / "README.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def test_commands_work_as_they_stand(folder):
    lines = [line for block in blocks(README, "bash") for line in block.splitlines()]
    commands = [line for line in lines if not line.startswith(("make ", "source "))]
    assert [line for line in lines if line.startswith("make ")] == ["make demo", "make test"]
    assert len(commands) >= 7
    run(commands[0], folder, shell=True)  # by its name, in a shell
    for command in commands[1:]:
        follow("bash", command, folder)
    for made in ("demo-quick/index.html", "demo-quick/metrics.json", "my-run/index.html", "result.json"):
        assert (folder / made).stat().st_size > 500, made


def test_python_examples_work_as_they_stand(folder):
    examples = blocks(README, "python")
    assert len(examples) == 2
    printed = follow("python", examples[0], folder)
    assert "R@1" in printed.splitlines()[-1]
    follow("python", examples[1], folder)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
