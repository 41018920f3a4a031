"""The model as a Python user has it, against transformers' own towers and against matching's own table."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

import fastgoal
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.data.source import open_source
from fastgoal.errors import DataError, ModelError
from fastgoal.matching import match
from fastgoal.model import TruncationWarning
from fastgoal.pairs import PairsTable
from fastgoal.regions import make_proposer

TEXTS = ["A red ball lies on a table.", "a", "An old brown dog sleeps behind the window."]


@pytest.fixture(scope="module")
def model(small_clip_folder):
    return fastgoal.load(small_clip_folder)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_scenes(folder, ScenesConfig(train=0, val=0, test=3, seed=5), progress=False)
    return open_source(folder / "test")


@pytest.fixture(scope="module")
def paths(scenes):
    return [scenes.root / sample.image for sample in scenes]


def test_similarity_is_transformers_own(model, paths, small_clip_folder):
    clip = CLIPModel.from_pretrained(small_clip_folder).eval()
    processor = CLIPProcessor.from_pretrained(small_clip_folder, backend="pil")
    images = [Image.open(path).convert("RGB") for path in paths]
    with torch.no_grad():
        output = clip(**processor(text=TEXTS, images=images, padding=True, return_tensors="pt"))
        cosine = (output.image_embeds @ output.text_embeds.T).numpy()
    similarity = model.similarity(paths, TEXTS)
    assert similarity.shape == (3, 3)
    np.testing.assert_allclose(similarity, cosine, atol=1e-5)
    np.testing.assert_allclose(model.encode_images(paths), output.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(TEXTS), output.text_embeds.numpy(), atol=1e-5)


def test_paths_images_and_generators_are_the_same(model, paths):
    listed = model.encode_images(paths)
    done = []
    mixed = model.encode_images((Image.open(p) if n else str(p) for n, p in enumerate(paths)), progress=done.append)
    np.testing.assert_array_equal(mixed, listed)
    assert sum(done) == 3
    np.testing.assert_allclose(model.encode_texts(iter(TEXTS)), model.encode_texts(TEXTS), atol=1e-6)


def test_generators_are_drawn_a_batch_at_a_time(model, paths):
    small, drawn, most = fastgoal.Model(model.encoder, batch=2), [], []
    images = (drawn.append(n) or Image.open(paths[n % 3]) for n in range(7))
    assert small.encode_images(images, progress=lambda count: most.append(len(drawn))).shape == (7, 24)
    assert most == [2, 4, 6, 7]


def test_none_are_none(model):
    assert model.encode_images([]).shape == model.encode_texts([]).shape == (0, 24)
    assert model.similarity([], TEXTS).shape == (0, 3)


def test_a_picture_of_pillow_is_upright_and_on_white(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(pixels[..., :3]).save(out, "JPEG", exif=turned)
    (tmp_path / "turned.jpg").write_bytes(out.getvalue())
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    both = [tmp_path / "turned.jpg", tmp_path / "clear.png"]
    np.testing.assert_array_equal(model.encode_images(map(Image.open, both)), model.encode_images(both))


def test_matching_is_that_of_the_command(model, scenes, tmp_path):
    match(scenes, model.encoder, make_proposer("flism"), tmp_path / "pairs", progress=False)
    for row in PairsTable.open(tmp_path / "pairs"):
        found = model.match(scenes.root / row.image, row.caption)
        assert [one.span for one in found] == [row.sentences[pair.sentence] for pair in row.pairs]
        assert [one.box for one in found] == [row.regions[pair.region].box for pair in row.pairs]
        assert [one.similarity for one in found] == pytest.approx([pair.similarity for pair in row.pairs], abs=1e-5)
        assert [one.text for one in found] == [row.caption[slice(*one.span)] for one in found]


def test_other_regions_and_none(model, paths):
    class Nothing:
        def propose(self, images):
            return [[] for _ in images]

    caption = "A red ball. A lamp stands behind it."
    whole = model.match(paths[0], caption, regions=Nothing())
    expected = model.similarity(paths[:1], ["A red ball.", "A lamp stands behind it."])[0]
    assert {one.text: one.similarity for one in whole} == pytest.approx(
        {"A red ball.": expected[0], "A lamp stands behind it.": expected[1]}, abs=1e-5
    )
    assert [one.box for one in whole] == [None, None]
    assert len({one.box for one in model.match(paths[0], caption, regions=make_proposer("fixed"))}) in (1, 2)
    assert model.match(paths[0], "...") == []


def test_cut_texts_are_warned_of(model):
    with pytest.warns(TruncationWarning, match=r"1 of 2 texts were cut at 77 tokens; .*text_tokens=N"):
        model.encode_texts(["a", "A lamp. " * 80])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_texts(TEXTS)


def test_a_longer_limit_reads_on(small_clip_folder):
    longer = fastgoal.load(small_clip_folder, text_tokens=248)
    text = "A red ball lies on the table. " * 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = longer.encode_texts([text + "A lamp.", text + "A chair."])
    assert np.abs(first - second).max() > 1e-4


def test_an_image_that_cannot_be_read_is_named(model, paths, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken.jpg: not an image that Pillow can open"):
        model.encode_images([*paths, tmp_path / "broken.jpg"])
    with pytest.raises(DataError, match=r"gone.jpg: the image cannot be read \(No such file"):
        model.similarity([tmp_path / "gone.jpg"], TEXTS)
    half = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(half, "JPEG")
    with pytest.raises(DataError, match=r"image 1: the image cannot be decoded"):
        model.encode_images([paths[0], Image.open(io.BytesIO(half.getvalue()[:1500]))])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.encode_texts("A red ball."), r"one text where several belong. Put it into a list: \[text\]"),
        (lambda m: m.encode_images("a.jpg"), "one image where several belong"),
        (lambda m: m.encode_images([np.zeros((3, 3))]), "image 0: a ndarray is no image"),
        (lambda m: m.encode_texts(["a", None]), "a NoneType is no text"),
    ],
)
def test_what_was_hardly_meant_is_refused(call, says, model):
    with pytest.raises(DataError, match=says):
        call(model)


def test_loading_says_what_is_wrong(tmp_path, capsys):
    with pytest.raises(ModelError, match="there is no such model folder"):
        fastgoal.load(tmp_path / "gone")
    with pytest.raises(ModelError, match="this device cannot be used"):
        fastgoal.load("tiny", device="cuda:77")
    assert fastgoal.load("tiny", text_tokens=248).encoder.text_limit == 248
    assert capsys.readouterr().err == ""
