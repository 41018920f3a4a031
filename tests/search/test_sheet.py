"""Hits to be looked at."""

import re

import numpy as np
import pytest
from PIL import Image

from fastgoal.errors import ConfigError
from fastgoal.search.searcher import Searcher
from fastgoal.search.sheet import COLOURS, draw_sheet, expect_sheet, write_page

QUERY = "A red ball <b>lies</b> on the left. A lamp stands behind it."


@pytest.fixture
def searcher(photos, indexed, encoder, tmp_path):
    indexed(photos, tmp_path / "index", regions="fixed")
    return Searcher.open(tmp_path / "index", encoder)


def test_the_page_holds_everything_and_escapes_what_users_wrote(searcher, photos, tmp_path):
    found = searcher.text(QUERY, top=5, sentences=True)
    gone = photos / found.hits[1].image
    gone.unlink()
    write_page(tmp_path / "hits.html", searcher, found, QUERY, skip=2)
    page = (tmp_path / "hits.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;b&gt;lies" in page
    assert "<b>lies" not in page
    assert page.count("data:image/jpeg;base64,") == 4
    assert page.count("picture not available") == 1
    assert page.count("<rect") == 4 * 2
    assert [int(rank) for rank in re.findall(r"<b>(\d+)\. ", page)] == [3, 4, 5, 6, 7]
    assert all(colour in page for colour in COLOURS[:2])


def test_a_page_without_hits_says_so(searcher, tmp_path):
    write_page(tmp_path / "hits.html", searcher, searcher.text(QUERY, where="width < 0"), QUERY)
    assert "No image matches." in (tmp_path / "hits.html").read_text()


def test_the_picture_shows_each_hit_with_its_boxes(searcher, photos, tmp_path):
    found = searcher.text(QUERY, top=7, sentences=True)
    (photos / found.hits[6].image).unlink()
    draw_sheet(tmp_path / "hits.png", searcher, found)
    pixels = np.asarray(Image.open(tmp_path / "hits.png"))
    assert pixels.shape == (2 * (240 + 36 + 16) + 16, 5 * 256 + 16, 3)
    for colour in COLOURS[:2]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == rgb).all(-1).sum() > 100
    draw_sheet(tmp_path / "none.png", searcher, searcher.text(QUERY, where="width < 0"))
    assert Image.open(tmp_path / "none.png").size[0] > 0


@pytest.mark.parametrize("name", ["hits.txt", "hits"])
def test_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"End its name in \.html"):
        expect_sheet(tmp_path / name, (".html",))
