"""The documentation site: it builds strictly, names every public name and every page, and loads nothing from elsewhere.

Whether its links lead somewhere, anchors included, is what strict mode itself refuses.
"""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from tests.pages import ROOT

import fastgoal
from fastgoal.cli import COMMANDS, build
from fastgoal.data.images import read_image

DOCS = ROOT / "docs"
LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


class _Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_public_name_has_an_entry(site):
    ids = {attributes.get("id") for _, attributes in _Tags(site / "reference.html").found}
    places = {name: getattr(fastgoal, name).__module__ for name in fastgoal.__all__}
    assert {f"{module}.{name}" for name, module in places.items()} - ids == set()


def test_docstrings_are_shown_by_their_parts(site):
    text = (site / "reference.html").read_text(encoding="utf-8")
    assert text.count("Parameters:") >= 10
    assert re.search(r"Returns:.*?one entry for each figure", text, flags=re.DOTALL)
    assert text.count("Raises:") >= 10
    assert not re.search(r"(Args|Raises):\n|Returns: \w", text)
    assert "<code>root</code>" in text  # `PairsTable` has it on the line of `folder`


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    def pages(tree):
        if isinstance(tree, str):
            return [tree]
        return [page for part in (tree.values() if isinstance(tree, dict) else tree) for page in pages(part)]

    named = pages(nav)
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} <= set(named)
    assert len(set(named)) == len(named)


def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for tag, attributes in _Tags(page).found:
            loaded = attributes.get(LOADS.get(tag, ""), None) or ""
            assert not re.match(r"(https?:)?//", loaded), (page, tag, loaded)
            assert "mermaid" not in (attributes.get("class") or ""), page  # the theme would fetch its renderer
            assert attributes.get("data-md-component") != "source", page  # the theme would ask the repository's host
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(\s*[\"']?|@import\s+[\"'])(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_the_search_knows_the_pages(site):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    for word in ("tutorial.html", "faq.html#i-run-out-of-memory", "measurements.html"):
        assert word in index


def test_pictures_are_small_and_whole():
    pictures = sorted((DOCS / "images").iterdir())
    assert [picture.stem for picture in pictures] == ["losses", "matching", "page", "pooling", "report", "stretching"]
    for picture in pictures:
        assert picture.stat().st_size < 100_000, picture
        if picture.suffix == ".svg":
            assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        else:
            read_image(picture)


@pytest.mark.parametrize("page", ["tutorial.md", "faq.md", "index.md", "method.md"])
def test_commands_and_flags_are_real(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    commands = set(re.findall(r"(?:`|^ *|-m )fastgoal ([a-z]+)", text, flags=re.MULTILINE))
    assert commands <= set(COMMANDS)
    app, known = build(), set[str]()
    for name in COMMANDS:
        command = app[name]
        for part in [command, *(command[sub] for sub in command if not sub.startswith("-"))]:
            if part.default_command is not None:
                known |= {flag for argument in part.assemble_argument_collection() for flag in argument.names}
    theirs = {"--nproc-per-node"}  # of torchrun
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known - theirs == set()
