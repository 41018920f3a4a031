"""What a model folder may look like, and what is said about one that cannot be used."""

import json
import shutil
from functools import partial
from itertools import count

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cut_short import cut_short

from fastgoal.errors import ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import expect_free


@pytest.fixture
def folder(small_clip_folder, tmp_path):
    return shutil.copytree(small_clip_folder, tmp_path / "model")


def edit(path, **changes):
    settings = json.loads(path.read_text())
    for name, value in changes.items():
        *above, last = name.split("__")
        place = settings
        for key in above:
            place = place[key]
        place[last] = value
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize("gone", ["preprocessor_config.json", "processor_config.json"])
def test_either_processor_file_is_enough(folder, small_clip_folder, gone):
    (folder / gone).unlink()
    assert DualEncoder.load(folder).fit == DualEncoder.load(small_clip_folder).fit


def test_an_old_preprocessor_file_with_plain_numbers(folder):
    (folder / "processor_config.json").unlink()
    old = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 36, "crop_size": 32, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps({**old, "image_mean": [0.5, 0.4, 0.3]}))
    fit = DualEncoder.load(folder).fit
    assert (fit.mode, fit.resize, fit.size, fit.resample, fit.mean) == ("crop", 36, 32, 2, (0.5, 0.4, 0.3))


@pytest.mark.parametrize("crop", [True, False])
def test_both_sides_given_means_squash(folder, crop):
    (folder / "processor_config.json").unlink()
    both = {"height": 32, "width": 32}
    edit(folder / "preprocessor_config.json", size=both, do_center_crop=crop, do_normalize=False)
    fit = DualEncoder.load(folder).fit
    assert (fit.mode, fit.resize, fit.size, fit.mean, fit.std) == ("squash", 32, 32, (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"do_center_crop": False},
        {"do_resize": False},
        {"rescale_factor": 1 / 127.5},
        {"size": {"height": 32, "width": 24}},
        {"size": {"height": 40, "width": 40}},
        {"size": {"shortest_edge": 16}},
        {"crop_size": {"height": 32, "width": 24}},
        {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
    ],
)
def test_preprocessing_without_a_square_of_the_models_size_is_refused(folder, changes):
    (folder / "processor_config.json").unlink()
    edit(folder / "preprocessor_config.json", **changes)
    with pytest.raises(ModelError, match="does not give squares of 32 pixels"):
        DualEncoder.load(folder)


def remove(name):
    return lambda folder: (folder / name).unlink()


def drop_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def reshape_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"] = torch.zeros(7, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut_the_weights(folder):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def remove_the_image_processor(folder):
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink()


def remove_the_tokenizer(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


BROKEN = {
    "no config": (remove("config.json"), "has no config"),
    "no weights": (remove("model.safetensors"), "has no weights"),
    "half the weights file": (cut_the_weights, "cannot be loaded"),
    "one weight missing": (drop_a_weight, "1 of its weights are missing, the first text_projection.weight"),
    "one weight of another shape": (reshape_a_weight, "1 of its weights have another shape"),
    "no tokenizer": (remove_the_tokenizer, "has no tokenizer"),
    "no image processor": (remove_the_image_processor, "has no image processor"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
    "another architecture": (lambda folder: edit(folder / "config.json", model_type="bert"), 'architecture is "bert"'),
    "heads that do not divide": (
        lambda folder: edit(folder / "config.json", text_config__num_attention_heads=5),
        "cannot be loaded",
    ),
    "another end token": (
        lambda folder: edit(folder / "config.json", text_config__eos_token_id=7),
        "texts end with token 7",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_named_with_a_mend(folder, case):
    break_it, message = BROKEN[case]
    break_it(folder)
    with pytest.raises(ModelError, match=message) as caught:
        DualEncoder.load(folder)
    assert caught.value.where == str(folder)
    assert caught.value.mend
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "../x", "a-name"])
def test_a_path_that_is_not_there_never_asks_the_hub(monkeypatch, tmp_path, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # nobody's files are beside it
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(ModelError, match="no such model folder"):
        DualEncoder.load(name)


def test_a_local_folder_never_asks_the_hub(monkeypatch, small_clip_folder, tmp_path):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    DualEncoder.load(small_clip_folder)
    with pytest.raises(ModelError, match="has no config"):
        DualEncoder.load(tmp_path)


def test_the_legacy_end_token_is_understood_where_it_means_the_same(folder, small_clip_folder):
    """`eos_token_id: 2` makes transformers pool at the largest id: right only if the end token is that."""
    edit(folder / "config.json", text_config__eos_token_id=2)
    legacy, plain = DualEncoder.load(folder), DualEncoder.load(small_clip_folder)
    batch = plain.tokenize(["A red ball.", "a lamp on the left side of the room"])
    with torch.inference_mode():
        assert torch.equal(legacy.encode_texts(batch).embedding_BD, plain.encode_texts(batch).embedding_BD)
    assert legacy.model.config.text_config.eos_token_id == plain.tokenizer.eos_token_id


def test_a_vocabulary_that_ends_texts_with_2_is_refused(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    encoder.tokenizer.eos_token = encoder.tokenizer.convert_ids_to_tokens(2)
    encoder.model.config.text_config.eos_token_id = 2
    with pytest.raises(ModelError, match="largest"):
        DualEncoder(encoder.model, encoder.tokenizer, encoder.image_processor)


def test_a_tokenizer_larger_than_the_model_is_refused(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    encoder.tokenizer.add_tokens(["<new>"])
    with pytest.raises(ModelError, match="the model only"):
        DualEncoder(encoder.model, encoder.tokenizer, encoder.image_processor)


@pytest.fixture
def encoder(small_clip_folder):
    return DualEncoder.load(small_clip_folder)


def test_a_write_that_was_cut_short_is_no_model_and_may_be_done_again(encoder, tmp_path, monkeypatch):
    encoder.save(tmp_path / "straight")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "straight").iterdir()}
    for at in count():
        out = tmp_path / f"{at}"
        out.mkdir()
        (out / "curve.json").write_text("kept")
        if not cut_short(partial(encoder.save, out), at, monkeypatch):
            break
        with pytest.raises(ModelError, match="has no config"):
            DualEncoder.load(out)
        expect_free(out, ["curve.json"])
        encoder.save(out)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == expected | {"curve.json": b"kept"}
    assert at == len(expected) + 1  # config.json waits under another name until the others are there
    with pytest.raises(ModelError, match="the folder is not empty"):
        expect_free(out, ["curve.json"])


def test_a_model_that_was_being_replaced_is_not_taken_for_whole(folder, encoder, monkeypatch):
    """Half of the old one and half of the new one would load without a word."""
    assert cut_short(partial(encoder.save, folder), 2, monkeypatch)
    with pytest.raises(ModelError, match="has no config"):
        DualEncoder.load(folder)
