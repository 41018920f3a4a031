"""`fastgoal index` and `fastgoal search`, as they are typed."""

import json

import pytest
from PIL import Image
from tests.search.conftest import paint

from fastgoal.cli import main

CONTRACT = {"id", "image", "score", "sentences"}


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Types a command in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        said = capsys.readouterr()
        assert end.value.code == 0, said.err
        return said.out

    return run


def test_index_and_search_as_they_are_typed(typed, tmp_path, small_clip_folder):
    for number in range(6):
        paint(tmp_path / "photos" / f"{number}.png", number)
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"x")
    said = typed("index", small_clip_folder, "photos", "--uri", "index", "--regions", "fixed", "--json", "index.json")
    assert "6 images and 30 regions in the index: 6 added" in said
    assert "left out 1: not an image that Pillow can open" in said
    assert "broken.jpg" in said
    report = json.loads((tmp_path / "index.json").read_text())
    assert (report["images"], report["regions"], report["ann"], report["dim"]) == (6, 30, None, 24)
    query = "A red ball lies on the left. A lamp stands behind it. " * 8
    files = ("--json", "found.json", "--out", "hits.html", "--picture", "sheets/hits.png")
    said = typed("search", "index", query, "--regions", "--top", "4", "--filter", "width > 5", *files)
    assert "The query exceeds the text limit and is read in" in said
    assert "6 of 6 images, compared exactly" in said
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["query"] == query
    assert len(found["hits"]) == 4
    assert all(set(hit) >= CONTRACT for hit in found["hits"])
    assert [len(hit["sentences"]) for hit in found["hits"]] == [16] * 4
    assert set(found["hits"][0]["sentences"][0]) == {"span", "box", "score"}
    assert len(found["passages"]) > 1
    for start, end in found["passages"]:
        assert query[start:end][:20] in said
    assert (tmp_path / "hits.html").stat().st_size > 5000
    assert Image.open(tmp_path / "sheets/hits.png").size[0] > 900
    assert typed("search", "index", "--image", "photos/3.png", "--top", "1").split()[2] == "3.png"
    assert "3.png" not in typed("search", "index", "--like", "3.png").split()
    assert "6 of 6 images" in typed("search", "index", "A ball.", "--model", small_clip_folder)


def test_near_duplicates_are_named(typed, tmp_path, small_clip_folder):
    for name in ("a.png", "b.png"):
        paint(tmp_path / "photos" / name, 1)
    said = typed("index", small_clip_folder, "photos", "--uri", "index", "--ann")
    assert "1 pairs of near-duplicates (cosine 0.98 or more), such as:" in said
    assert "1.000  a.png  b.png" in said
    assert "recall@10 1.000" in said
    assert "no near-duplicates among the 0 images compared" in typed(
        "index", small_clip_folder, "photos", "--uri", "index"
    )
