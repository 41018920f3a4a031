"""An index brought up to date is the index that would be made anew."""

import json
import os
import shutil

import numpy as np
import pytest
from tests.conftest import save_small_clip
from tests.search.conftest import expect_equal_rows, paint, rows

from fastgoal.captioning.pictures import open_pictures
from fastgoal.data.images import fit_pixels, read_image
from fastgoal.embed import embed_images
from fastgoal.errors import ConfigError, DataError, ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.search.build import IndexSettings, index
from fastgoal.search.manifest import Manifest
from fastgoal.search.tables import IMAGES, REGIONS, Table, Tables


def change(photos):
    """One image more, one changed, one gone, one touched, one caption more."""
    paint(photos / "new.png", 99)
    paint(photos / "03.png", 98)
    (photos / "04.png").unlink()
    os.utime(photos / "00.png", ns=(1, 1))
    (photos / "01.png").with_suffix(".txt").write_text("A caption that came later.")


def test_rows_are_the_images_with_their_embeddings(photos, indexed, encoder, tmp_path):
    report = indexed(photos, tmp_path / "index", regions="fixed")
    found, regions = rows(tmp_path / "index"), rows(tmp_path / "index", REGIONS)
    assert (report.images, report.added, len(found)) == (12, 12, 12)
    row = found["below/02.png",]
    picture = read_image(photos / "below/02.png")
    assert (row["image"], row["width"], row["height"]) == ("below/02.png", *picture.size)
    assert row["bytes"] == (photos / "below/02.png").stat().st_size
    assert row["caption"] == (photos / "below/02.txt").read_text()
    np.testing.assert_allclose(row["vector"], embed_images(encoder, [picture])[0], atol=2e-6)
    own = {key[1:]: region for key, region in regions.items() if key[0] == "below/02.png"}
    assert len(own) == 5
    for box, region in own.items():
        assert region["key"] == row["key"]
        crop = fit_pixels(picture, encoder.fit, box)
        np.testing.assert_allclose(region["vector"], embed_images(encoder, [crop])[0], atol=2e-6)


def test_an_index_brought_up_to_date_is_one_made_anew(photos, indexed, tmp_path):
    indexed(photos, tmp_path / "old", regions="fixed")
    change(photos)
    report = indexed(photos, tmp_path / "old", regions="fixed")
    indexed(photos, tmp_path / "new", regions="fixed")
    for table in (IMAGES, REGIONS):
        expect_equal_rows(rows(tmp_path / "old", table), rows(tmp_path / "new", table))
    assert (report.added, report.changed, report.deleted, report.unchanged) == (1, 1, 1, 10)
    assert report.images == 12
    again = indexed(photos, tmp_path / "old", regions="fixed")
    assert (again.added, again.changed, again.deleted, again.unchanged) == (0, 0, 0, 12)


def test_only_what_has_another_content_is_embedded_again(photos, indexed, tmp_path, monkeypatch):
    indexed(photos, tmp_path / "index")
    change(photos)
    seen = []
    decode = "fastgoal.search.embedding.read_image"
    monkeypatch.setattr(decode, lambda raw, where: seen.append(where) or read_image(raw, where))
    indexed(photos, tmp_path / "index")
    assert sorted(seen) == ["03.png", "new.png"]


def test_images_that_cannot_be_read_are_left_out_and_named(photos, indexed, tmp_path):
    (photos / "01.png").write_bytes(b"x")
    report = indexed(photos, tmp_path / "index")
    assert report.images == 11
    assert report.to_json()["skipped"] == {"not an image that Pillow can open": 1}
    assert report.to_json()["skipped_images"][0]["where"] == "01.png"
    (photos / "03.png").write_bytes(b"")  # what was there is not that image any more
    report = indexed(photos, tmp_path / "index")
    assert (report.images, report.deleted) == (10, 1)
    assert {"03.png", "01.png"}.isdisjoint(name for (name,) in rows(tmp_path / "index"))


def test_a_disk_that_is_not_there_empties_no_index(photos, indexed, tmp_path):
    table = tmp_path / "captions.jsonl"
    names = [path.relative_to(photos).as_posix() for path in sorted(photos.rglob("*.png"))]
    table.write_text("".join(json.dumps({"image": name, "caption": "A ball."}) + "\n" for name in names))
    indexed(table, tmp_path / "index", root=photos)
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="0 of 12 images can be read"):
        indexed(table, tmp_path / "index", root=photos)
    assert len(rows(tmp_path / "index")) == 12
    assert Manifest.read(tmp_path / "index").complete
    assert indexed(table, tmp_path / "index", root=tmp_path / "elsewhere").unchanged == 12


def test_a_limit_leaves_the_others_alone(photos, indexed, tmp_path):
    assert indexed(photos, tmp_path / "index", limit=4).images == 4
    assert indexed(photos, tmp_path / "index").images == 12
    report = indexed(photos, tmp_path / "index", limit=4)
    assert (report.images, report.unchanged, report.deleted) == (12, 4, 0)


def test_given_boxes_that_change_are_embedded_anew(photos, indexed, tmp_path):
    def say(box):
        line = {"id": "a", "image": "00.png", "caption": "A ball.", "regions": [{"box": box}]}
        (photos / "captions.jsonl").write_text(json.dumps(line) + "\n")

    say([1, 2, 20, 30])
    indexed(photos, tmp_path / "index", regions="given")
    say([3, 4, 25, 35])
    report = indexed(photos, tmp_path / "index", regions="given")
    assert (report.changed, report.regions) == (1, 1)
    assert list(rows(tmp_path / "index", REGIONS)) == [("a", 3, 4, 25, 35)]


def test_what_does_not_belong_together_is_refused(photos, indexed, tmp_path):
    uri = tmp_path / "index"
    indexed(photos, uri)
    other = DualEncoder.load(save_small_clip(tmp_path / "other", seed=5))
    with pytest.raises(ModelError, match=r"made by small-clip \(\w{16}\).*Index with small-clip again"):
        index(open_pictures(photos), other, uri, progress=False)
    with pytest.raises(DataError, match="they were none, now fixed"):
        indexed(photos, uri, regions="fixed")
    for number in range(3):
        paint(tmp_path / "holiday" / f"{number}.png", number)
    with pytest.raises(DataError, match="the index is of other images"):
        indexed(tmp_path / "holiday", uri)
    assert len(rows(uri)) == 12
    assert indexed(tmp_path / "holiday", uri, overwrite=True).images == 3
    with pytest.raises(DataError, match=r"not empty \(it holds 00.png\)"):
        indexed(photos, photos)


def test_index_and_images_may_move_together(photos, indexed, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    photos.rename(home / "photos")
    indexed(home / "photos", home / "index")
    home.rename(tmp_path / "away")
    assert indexed(tmp_path / "away/photos", tmp_path / "away/index").unchanged == 12
    shutil.copytree(tmp_path / "away/photos", tmp_path / "copies")  # with the times, but in another place
    assert indexed(tmp_path / "copies", tmp_path / "away/index").unchanged == 12
    manifest = Manifest.read(tmp_path / "away/index")
    assert (manifest.root, manifest.complete) == ("../../copies", True)


def test_overwriting_drops_an_index_and_nothing_else(photos, indexed, tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers/thesis.doc").write_text("precious")
    with pytest.raises(DataError, match=r"it holds thesis\.doc"):
        indexed(photos, tmp_path / "papers", overwrite=True)
    indexed(photos, tmp_path / "index", regions="fixed")
    (tmp_path / "index/index.json").write_text("[")
    assert indexed(photos, tmp_path / "index", overwrite=True).added == 12
    (tmp_path / "index/index.json").unlink()
    with pytest.raises(DataError, match=r"it holds images\.lance"):
        indexed(photos, tmp_path / "index")
    assert indexed(photos, tmp_path / "index", overwrite=True).regions == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"batch": 0}, "batch"), ({"commit": 0}, "commit"), ({"workers": -1}, "workers"), ({"duplicates": 2}, "cosine")],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        IndexSettings(**settings)


def test_many_commits_become_few_files(photos, indexed, tmp_path):
    indexed(photos, tmp_path / "index", commit=1)
    table = Tables(tmp_path / "index").open(IMAGES)
    assert table._table.stats()["fragment_stats"]["num_fragments"] == 1


@pytest.mark.parametrize("step", ["regions written", "images written", "old regions deleted"])
def test_stopped_between_the_tables_nothing_is_lost_or_doubled(photos, indexed, tmp_path, monkeypatch, step):
    """Stopped after each write of a run that adds and changes images; readers meet whole images at any moment."""
    indexed(photos, tmp_path / "index", regions="fixed")
    change(photos)
    calls = {"regions written": "add", "images written": "put", "old regions deleted": "delete_keys"}
    call = getattr(Table, calls[step])

    def stopped(self, *given):
        call(self, *given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Table, calls[step], stopped)
        with pytest.raises(KeyboardInterrupt):
            indexed(photos, tmp_path / "index", regions="fixed")
    images, regions = rows(tmp_path / "index"), Tables(tmp_path / "index").open(REGIONS).read(["id", "key"]).to_pylist()
    for (name,), row in images.items():
        assert regions.count({"id": name, "key": row["key"]}) == 5
    indexed(photos, tmp_path / "index", regions="fixed")
    indexed(photos, tmp_path / "new", regions="fixed")
    for table in (IMAGES, REGIONS):
        expect_equal_rows(rows(tmp_path / "index", table), rows(tmp_path / "new", table))
