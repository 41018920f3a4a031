"""A card's figures, each counted again in the obvious way, and its Markdown."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import DatasetCard
from tests.captioning.conftest import draw

from fastgoal.captioning import Captioner, CaptionSettings, caption, open_pictures
from fastgoal.card import Licences, data_card, gather, measure_similarity
from fastgoal.checking.captions import TextModel
from fastgoal.data.images import fit_pixels, normalise, read_image
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.errors import DataError
from fastgoal.matching import match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer


@pytest.fixture(scope="module")
def encoder():
    return DualEncoder.load("tiny")


@pytest.fixture(scope="module")
def text_model(encoder):
    return TextModel(name="tiny", tokenizer=encoder.tokenizer, limit=encoder.text_limit)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "scenes"
    write_scenes(folder, ScenesConfig(train=6, val=0, test=0, seed=1), progress=False)
    data = folder / "train"
    first = json.loads((data / "captions.jsonl").read_text().splitlines()[0])
    with (data / "captions.jsonl").open("a") as lines:  # a broken image, and a second caption of another
        lines.write(json.dumps({"image": "bad.png", "caption": "Nothing."}) + "\n")
        lines.write(json.dumps({"image": first["image"], "caption": "A second caption. " * 60}) + "\n")
    (data / "bad.png").write_bytes(b"x")
    return data


@pytest.fixture(scope="module")
def pairs(scenes, encoder):
    out = scenes.parent / "pairs"
    match(open_source(scenes), encoder, make_proposer("flism"), out, progress=False)
    return out


def test_figures_of_a_table(pairs, scenes, text_model):
    facts, _ = gather(pairs, text_model)
    rows = [row for row in PairsTable.open(pairs) if row.skip is None]
    words = [len(row.caption.split()) for row in rows]
    tokens = [len(text_model.tokenizer(row.caption)["input_ids"]) for row in rows]
    assert (facts.samples, facts.images, len(rows)) == (7, 6, 7)
    assert facts.skipped == {"not an image that Pillow can open": 1}
    assert facts.words.mean == pytest.approx(np.mean(words), abs=0.01)
    assert (facts.words.least, facts.words.most) == (min(words), max(words))
    assert facts.captions.tokens.mean == pytest.approx(np.mean(tokens), abs=0.01)
    assert facts.captions.over == {limit: np.mean([count > limit for count in tokens]) for limit in (77, 248)}
    assert facts.captions.over[77] > 0
    assert facts.captions.sentences.most == 60
    local = facts.local
    by_image = {row.image: [region.source for region in row.regions] for row in rows}
    assert local.regions_per_image == np.mean([len(sources) for sources in by_image.values()])
    assert local.region_sources == {
        kind: sum(s.count(kind) for s in by_image.values()) for kind in ("proposal", "fixed")
    }
    best = [(row.pairs[0].similarity, row.regions[row.pairs[0].region].source) for row in rows]
    assert local.similarity == pytest.approx(np.mean([similarity for similarity, _ in best]))
    assert local.pair_sources == {kind: sum(source == kind for _, source in best) for kind in local.pair_sources}
    assert local.paired == sum(local.pair_sources.values()) == 7


def test_similarity_is_the_mean_cosine_of_images_and_captions(pairs, scenes, encoder, text_model):
    """Against the encoder called by hand, one by one."""
    _, rows = gather(pairs, text_model)
    found = measure_similarity(rows, encoder, progress=False)
    cosines, cut = [], []
    for row in (row for row in PairsTable.open(pairs) if row.skip is None):
        view = fit_pixels(read_image(scenes / row.image), encoder.fit)
        image = encoder.model.get_image_features(normalise(torch.from_numpy(view)[None], encoder.fit)).pooler_output[0]
        inputs = encoder.tokenizer(row.caption, truncation=True, max_length=77, return_tensors="pt")
        cut.append(len(encoder.tokenizer(row.caption)["input_ids"]) > 77)
        text = encoder.model.get_text_features(**inputs).pooler_output[0]
        cosines.append(float((image @ text / image.norm() / text.norm()).detach()))
    assert found.mean == pytest.approx(np.mean(cosines), abs=1e-5)
    assert found.deviation == pytest.approx(np.std(cosines), abs=1e-5)
    assert (found.samples, found.tokens, found.model) == (7, 77, "tiny")
    assert found.cut_share == np.mean(cut)
    assert measure_similarity(rows, encoder, samples=3, progress=False).samples == 3


def parts(card):
    """Metadata and the rows of all tables."""
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), dict(re.findall(r"^\| (.+?) \| (.+) \|$", body, flags=re.M)), body


def test_a_card_is_the_hubs_and_says_what_is_left_to_do(pairs, text_model):
    facts, _ = gather(pairs, text_model)
    metadata, rows, body = parts(data_card(facts, Licences()))
    assert DatasetCard(data_card(facts, Licences())).data.to_dict() == metadata
    assert metadata["license"] == "unknown"
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["configs"] == [{"config_name": "default", "data_files": "shard-*.parquet"}]
    assert list(pairs.glob("shard-*.parquet"))
    assert metadata["language"] == ["en"]
    assert "synthetic" not in metadata["tags"]
    assert rows["images"].startswith("TODO")
    assert rows["captions"].startswith("TODO")
    assert rows["image-text similarity (cosine)"] == "not measured"
    assert rows["not usable"] == "1: not an image that Pillow can open"
    assert "fastgoal train pairs" in body
    assert str(pairs.parent) not in body


def test_licences_and_name_are_put_in(pairs, encoder, text_model):
    facts, _ = gather(pairs, text_model)
    licences = Licences(collection="cc-by-4.0", images="CC0", captions="Apache-2.0")
    metadata, rows, body = parts(data_card(facts, licences, name="My: tiles", language="de"))
    assert (metadata["license"], metadata["pretty_name"], metadata["language"]) == ("cc-by-4.0", "My: tiles", ["de"])
    assert rows["images"] == "CC0"
    assert "# My: tiles\n" in body
    assert body.count("TODO") == 3


def test_provenance_from_captioner_to_card(captioner_folder, tmp_path, encoder, text_model):
    captioner = Captioner.load(captioner_folder)
    (draw(tmp_path / "photos") / "bad.png").write_bytes(b"")
    settings = CaptionSettings(max_new_tokens=6, prompt="What is there to see?")
    caption(open_pictures(tmp_path / "photos"), captioner, tmp_path / "captioned", settings, progress=False)
    match(open_source(tmp_path / "captioned"), encoder, make_proposer("fixed"), tmp_path / "pairs", progress=False)
    for name in ("captioned", "pairs"):
        facts, rows = gather(tmp_path / name, text_model)
        assert facts.captioner["fingerprint"] == captioner.fingerprint
        metadata, table, body = parts(data_card(facts, Licences()))
        assert "synthetic" in metadata["tags"]
        assert f"`llava-next` (llava_next, fingerprint `{captioner.fingerprint}`)" in body
        assert "*What is there to see?*" in body
        assert table["left out when captioning"] == "1: the image file is empty (0 bytes)"
        assert (f"fingerprint `{encoder.fingerprint}`, rule flism" in body) == (name == "pairs")
        assert ("fastgoal match captioned" in body) == (name == "captioned")
    assert measure_similarity(rows, encoder, progress=False).samples == 5


@pytest.mark.parametrize("content", ["[]", '{"report": {"images": 3}}', "{"])
def test_a_file_of_others_by_the_name_of_our_record_says_nothing(content, tmp_path, text_model):
    draw(tmp_path / "photos")
    (tmp_path / "photos" / "caption.json").write_text(content)
    for image in (tmp_path / "photos").rglob("*.png"):
        image.with_suffix(".txt").write_text("A red ball lies on a table.")
    assert gather(tmp_path / "photos", text_model)[0].captioner is None


def test_what_a_card_cannot_be_made_of(tmp_path, text_model, pairs, encoder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("[]")
    for name, says in (("empty", "no usable sample"), ("nowhere", "no such file"), ("other", "not the manifest")):
        with pytest.raises(DataError, match=says):
            gather(tmp_path / name, text_model)
    _, rows = gather(pairs, text_model, root=tmp_path)
    with pytest.raises(DataError, match=r"no image can be read.*--root"):
        measure_similarity(rows, encoder, progress=False)
