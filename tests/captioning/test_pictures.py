"""Which images are captioned, for every shape of data."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.captioning.conftest import draw

from fastgoal.captioning import open_pictures
from fastgoal.captioning.pictures import Picture
from fastgoal.data.benchmarks.layout import write_like
from fastgoal.data.images import read_image
from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.errors import DataError


def uris(pictures):
    return [entry.uri for entry in pictures if isinstance(entry, Picture)]


def test_a_folder_of_images_without_captions(tmp_path):
    folder = draw(tmp_path)
    (folder / "README.txt").write_text("notes")
    (folder / "0.txt").write_text("an old caption")
    assert uris(open_pictures(folder)) == ["0.png", "2.png", "4.png", "below/1.png", "below/3.png"]
    assert uris(open_pictures(folder, limit=2)) == ["0.png", "2.png"]


def test_tars_without_captions(tmp_path):
    draw(tmp_path / "images")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "images", "images")
        tar.addfile(tarfile.TarInfo("notes.txt"), io.BytesIO())
    pictures = open_pictures(tmp_path / "a.tar")
    assert len(uris(pictures)) == 5
    assert read_image(pictures.images.open("a.tar#images/below/3.png")).size == (44, 57)


def test_data_gives_each_image_once_with_its_id_and_boxes(tmp_path):
    draw(tmp_path)
    box = {"box": [1, 2, 3, 4], "span": [0, 3], "label": "ball"}
    records = [
        {"id": "x", "image": "2.png", "caption": "one", "regions": [box]},
        {"id": "y", "image": "2.png", "caption": "two"},
        {"image": "0.png"},
        {"image": "0.png", "caption": "three"},
    ]
    (tmp_path / "captions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    first, problem, last = open_pictures(tmp_path)
    assert (first.id, first.uri, first.regions[0].label) == ("x", "2.png", "ball")
    assert problem.what == "caption is missing"
    assert (last.id, last.uri) == ("0.png", "0.png")


def test_images_that_lie_in_a_table(tmp_path):
    draw(tmp_path / "images", 2)
    content = (tmp_path / "images" / "0.png").read_bytes()
    pq.write_table(pa.table({"image": [content, content], "caption": ["a", "b"]}), tmp_path / "a.parquet")
    pictures = open_pictures(tmp_path / "a.parquet")
    assert uris(pictures) == ["a.parquet#image/0", "a.parquet#image/1"]
    assert read_image(pictures.images.open("a.parquet#image/1")).size == (44, 30)


def test_no_image(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    for path, says in ((tmp_path, "no image here"), (tmp_path / "nowhere", "no such file or folder")):
        with pytest.raises(DataError, match=says):
            open_pictures(path)
    with pytest.raises(DataError, match="a limit of 0"):
        open_pictures(draw(tmp_path), limit=0)


def test_a_benchmark_by_name(tmp_path):
    write_like("docci/test", tmp_path, draw_samples(ScenesConfig(), "test", 3))
    pictures = open_pictures("docci", root=tmp_path, limit=2)
    assert [picture.uri for picture in pictures] == ["images/qual_test_00000.jpg", "images/test_00000.jpg"]
    with pytest.raises(DataError, match="a limit of 0 samples"):
        open_pictures("docci", root=tmp_path, limit=0)
