"""`fastgoal explain`, as it is typed."""

import io
import json

import pytest
from PIL import Image

from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, ScenesConfig(train=0, val=0, test=4), progress=False)
    return folder / "test"


def run(*words):
    with pytest.raises(SystemExit) as end:
        main(["explain", *map(str, words)])
    return end.value.code


@pytest.fixture
def image(scenes):
    return next((scenes / "images").iterdir())


def test_an_image_and_a_caption_become_a_picture(small_clip_folder, image, tmp_path, capsys):
    out = tmp_path / "new" / "a.png"
    assert run(small_clip_folder, image, "A red ball. A lamp.", "--out", out, "--json", tmp_path / "a.json") == 0
    size = Image.open(out).size
    assert f"{out}: {size[0]} x {size[1]} pixels" in capsys.readouterr().out
    record = json.loads((tmp_path / "a.json").read_text())
    assert [subject["id"] for subject in record["subjects"]] == [image.name]
    assert len(record["subjects"][0]["models"][0]["sentences"]) == 2
    assert record["localisation"] == []


def test_a_caption_comes_from_a_file_or_standard_input(small_clip_folder, image, tmp_path, monkeypatch):
    (tmp_path / "c.txt").write_text("A green lamp.\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("A green lamp.\n"))
    for number, given in enumerate([f"@{tmp_path / 'c.txt'}", "-", "A green lamp."]):
        out, told = tmp_path / f"{number}.png", tmp_path / f"{number}.json"
        assert run(small_clip_folder, image, given, "--out", out, "--no-words", "--json", told) == 0
        assert json.loads(told.read_text())["subjects"][0]["caption"] == "A green lamp."
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_two_models_on_a_list_become_a_folder(small_clip_folder, scenes, tmp_path, capsys):
    out = tmp_path / "out"
    command = [small_clip_folder, "--data", scenes, "--limit", 2, "--against", "tiny", "--out", out, "--no-words"]
    assert run(*command, "--json", tmp_path / "a.json") == 0
    assert sorted(path.name for path in out.iterdir()) == ["001.png", "002.png", "index.html"]
    record = json.loads((tmp_path / "a.json").read_text())
    assert [row["model"] for row in record["localisation"]] == ["tiny", str(small_clip_folder)]
    told = capsys.readouterr().out
    for row in record["localisation"]:
        assert f"the true box of {row['hits']} of {row['sentences']} sentences" in told


def test_samples_are_named_or_the_worst_taken(small_clip_folder, scenes, tmp_path):
    out, told = tmp_path / "a.html", tmp_path / "a.json"
    common = [small_clip_folder, "--data", scenes, "--out", out, "--no-words", "--json", told]
    assert run(*common, "--ids", "test-00002, test-00000") == 0
    assert [one["id"] for one in json.loads(told.read_text())["subjects"]] == ["test-00000", "test-00002"]
    assert run(*common, "--worst", 1) == 0
    (worst,) = json.loads(told.read_text())["subjects"]
    assert worst["instead"]["ranks"][0] > 1
    assert worst["instead"]["gallery"] == 4
    assert len(worst["instead"]["scores"]) == len(worst["models"][0]["sentences"])
    assert "First came images/" in out.read_text()
