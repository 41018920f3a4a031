"""`run` on the user's own data."""

from dataclasses import replace

import pytest
from PIL import Image

from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.errors import DataError
from fastgoal.run import RunSettings, run

SETTINGS = RunSettings(model="tiny", methods=("goal",), epochs=1, batch_size=8, regions="fixed")


@pytest.fixture
def photos(tmp_path):
    """A folder as people have them: images with a `.txt` each and no boxes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for sample, image in draw_samples(ScenesConfig(seed=8, contrast=0), "train", 40):
        image.save(folder / f"{sample.id}.png", compress_level=1)
        (folder / f"{sample.id}.txt").write_text(sample.caption, encoding="utf-8")
    return folder


def test_unreadable_images_in_any_split_are_left_out(photos, tmp_path):
    settings = replace(SETTINGS, shares=(0.5, 0.2, 0.3))
    whole, _ = run(photos, tmp_path / "whole", settings, progress=False)
    for file in sorted(photos.glob("*.png"))[::2]:
        file.write_bytes(file.read_bytes()[:2000])
    found, _ = run(photos, tmp_path / "out", settings, progress=False)
    assert found.match["skipped"] == {"the image cannot be decoded": found.match["samples"] - found.match["paired"]}
    assert 0 < found.results["goal"]["long-retrieval"][0]["items"] < whole.results["goal"]["long-retrieval"][0]["items"]


def test_a_folder_of_images_and_texts_becomes_a_model_and_a_report(photos, tmp_path):
    found, files = run(photos, tmp_path / "out", SETTINGS, command="fastgoal run photos", progress=False)
    assert set(found.models) == {"base cut at 77", "base", "goal"}
    splits = found.data.splits
    assert sum(splits.values()) == 40
    assert splits["train"] > splits["test"] > 0
    assert found.match["samples"] == splits["train"]
    assert (tmp_path / "out" / "runs" / "goal-1337" / "model" / "model.safetensors").exists()
    assert "fastgoal run photos" in files.page.read_text(encoding="utf-8")
    assert "localisation" not in found.results["goal"]  # no true boxes, so nothing is claimed about them


def test_an_empty_split_is_refused_before_any_work(photos, tmp_path):
    settings = replace(SETTINGS, shares=(0.9, 0.1, 0.0))
    with pytest.raises(DataError, match="of 40 images none fell into the test set"):
        run(photos, tmp_path / "out", settings, progress=False)
    assert not (tmp_path / "out").exists()


def test_too_few_images_are_refused(tmp_path):
    for i in range(3):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text("A black square.")
    with pytest.raises(DataError, match="3 images are too few"):
        run(tmp_path, tmp_path / "out", SETTINGS, progress=False)
