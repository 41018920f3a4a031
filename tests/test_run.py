"""`run` on the user's own data."""

from dataclasses import replace

import pytest
from PIL import Image
from tests.families import save_metaclip_2, save_siglip
from tests.regions.small import save_small_sam

from fastgoal.data.scenes import ScenesConfig, draw_samples
from fastgoal.data.source import open_source
from fastgoal.data.splits import same_pictures, split_by_image
from fastgoal.errors import ConfigError, DataError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
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
    assert found.match["skipped"] == {"the image cannot be decoded": 20}  # of all three sets
    assert len(found.match["skipped_samples"]) == 20
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


def test_another_model_can_match_and_lism_brings_its_rule(photos, tmp_path, small_clip_folder):
    sam = save_small_sam(tmp_path / "sam")
    settings = replace(SETTINGS, matcher=str(small_clip_folder), regions="lism", sam=str(sam), limit=24, text_tokens=77)
    found, _ = run(photos, tmp_path / "out", settings, progress=False)
    matcher, tiny = (DualEncoder.load(name).fingerprint for name in (str(small_clip_folder), "tiny"))
    origins = [PairsTable.open(tmp_path / "out" / "pairs" / name).manifest.origin for name in ("train", "val", "test")]
    assert {origin.matcher for origin in origins} == {matcher} != {tiny}
    assert {origin.settings["rule"] for origin in origins} == {"lism"}
    assert found.match["matcher"] == matcher
    assert found.match["samples"] == found.match["paired"] + sum(found.match["unpaired"].values())
    assert found.results["goal"]["joint"][0]["pairs"]["matcher"] == matcher


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


def test_settings_that_are_not_given_are_derived_and_explained(photos, tmp_path, capsys):
    settings = RunSettings(model="tiny", methods=("goal",), epochs=1, regions="fixed")
    for file in list(photos.glob("train-0000*")):
        file.with_name(f"again-{file.name}").write_bytes(file.read_bytes())
    found, files = run(photos, tmp_path / "out", settings)
    assert found.settings["batch_size"] == 16
    assert found.settings["learning_rate"] == 1e-4
    assert [reason.split()[0] for reason in found.reasons] == ["batch", "learning", "warm-up"]
    assert any("10 images are there twice" in doubt for doubt in found.doubts)
    page, text = files.page.read_text(encoding="utf-8"), files.markdown.read_text(encoding="utf-8")
    assert "batch 16: for" in page
    assert "batch 16: for" in text
    assert "there twice, under two names" in page
    assert "settings: batch 16: for" in capsys.readouterr().err
    images = {name: {sample.image for sample in part} for name, part in parts_of(photos).items()}
    assert all((f"again-{image}" in part) == (image in part) for part in images.values() for image in DOUBLED)


DOUBLED = [f"train-0000{i}.png" for i in range(10)]


def parts_of(folder):
    source = open_source(folder)
    return split_by_image(source, seed=1337, same=same_pictures(source))


def test_a_siglip_learns_what_it_can_and_the_reason_is_told(photos, tmp_path, capsys):
    model = save_siglip(tmp_path / "siglip")
    settings = replace(SETTINGS, model=str(model), methods=None)
    found, files = run(photos, tmp_path / "out", settings)
    assert list(found.models) == ["base", "global", "no-tsl"]
    results = found.results["no-tsl"]
    assert {name: own[0]["text_tokens"] for name, own in results.items()} == dict.fromkeys(results, 64)
    why = "methods global and no-tsl: SigLIP has no projection for patches and tokens"
    assert f"settings: {why}" in capsys.readouterr().err
    assert why in files.page.read_text(encoding="utf-8")
    assert DualEncoder.load(tmp_path / "out" / "runs" / "no-tsl-1337" / "model").traits.title == "SigLIP"


def test_goal_that_is_asked_for_is_refused_before_any_work(photos, tmp_path):
    model = save_siglip(tmp_path / "siglip")
    with pytest.raises(ConfigError, match="SigLIP has no projection"):
        run(photos, tmp_path / "out", replace(SETTINGS, model=str(model)), progress=False)
    assert not (tmp_path / "out").exists()


def test_a_metaclip_2_from_photos_to_a_report(photos, tmp_path):
    model = save_metaclip_2(tmp_path / "metaclip_2")
    settings = replace(SETTINGS, model=str(model), methods=None, text_tokens=100)
    found, files = run(photos, tmp_path / "out", settings, progress=False)
    assert set(found.models) == {"base cut at 77", "base", "global", "goal"}
    assert found.results["goal"]["long-retrieval"][0]["text_tokens"] == 100
    assert files.page.exists()
