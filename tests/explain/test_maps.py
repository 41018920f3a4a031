"""Heat maps and best regions beside stock transformers, the view beside painted pixels, and what is hard to explain."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.explain.conftest import picture
from transformers import CLIPModel, CLIPProcessor

from fastgoal.data.images import fit_pixels
from fastgoal.data.sentences import split_sentences
from fastgoal.errors import ModelError
from fastgoal.evaluation.localisation import patch_centres
from fastgoal.explain import explain, patch_box, view_box
from fastgoal.geometry import ImageFit
from fastgoal.matching import MatchSettings, match
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.pairs import PairsTable
from fastgoal.regions import FixedRegions, Region, make_proposer

CAPTION = "A red ball lies on the left. A small blue box stands on the right."


@pytest.fixture(scope="module")
def stock(small_clip_folder):
    model = CLIPModel.from_pretrained(small_clip_folder).eval()
    return model, CLIPProcessor.from_pretrained(small_clip_folder)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def text_of(stock, texts):
    model, processor = stock
    tokens = processor.tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        return unit(model.text_projection(model.text_model(**tokens).pooler_output).numpy())


def image_of(stock, image):
    """The image's embedding, and its patches, normed by the post layer norm, in the joint space."""
    model, processor = stock
    with torch.no_grad():
        seen = model.vision_model(processor.image_processor(image, return_tensors="pt")["pixel_values"])
        patches = model.visual_projection(model.vision_model.post_layernorm(seen.last_hidden_state[0, 1:]))
        return unit(model.visual_projection(seen.pooler_output)[0].numpy()), unit(patches.numpy())


def test_heat_similarity_and_regions_equal_stock_transformers(encoder, stock):
    image = picture(70, 50)
    boxes = [(0.0, 0.0, 35.0, 25.0), (20.0, 10.0, 70.0, 50.0), (5.0, 3.0, 17.0, 41.0)]
    found = explain(encoder, image, CAPTION, regions=[Region(box=box, source="given") for box in boxes])
    whole, patches = image_of(stock, image)
    sentences = text_of(stock, [CAPTION[start:end] for start, end in split_sentences(CAPTION)])
    crops = np.stack([image_of(stock, image.crop(tuple(map(int, box))))[0] for box in boxes])
    assert found.similarity == pytest.approx(float(text_of(stock, [CAPTION])[0] @ whole), abs=1e-5)
    assert len(found.sentences) == 2
    for sentence, text_D in zip(found.sentences, sentences, strict=True):
        np.testing.assert_allclose(sentence.heat_GG, (patches @ text_D).reshape(4, 4), atol=1e-5)
        assert sentence.box == boxes[int((crops @ text_D).argmax())]
        assert sentence.score == pytest.approx(float((crops @ text_D).max()), abs=1e-5)
    assert found.attention_GG is None
    assert found.words == ()


def test_the_score_is_the_one_that_matching_finds(encoder, source, tmp_path):
    match(source, encoder, make_proposer("flism"), tmp_path / "pairs", MatchSettings(), progress=False)
    for row in PairsTable.open(tmp_path / "pairs"):
        image = picture(row.width, row.height, int(row.id[1:]))
        found = explain(encoder, image, row.caption)
        best = max(found.sentences, key=lambda sentence: sentence.score)
        assert best.score == pytest.approx(row.pairs[0].similarity, abs=1e-5)
        assert best.box == row.regions[row.pairs[0].region].box
        assert best.span == row.sentences[row.pairs[0].sentence]


def test_without_regions_a_sentence_meets_the_whole_image(encoder, stock):
    image = picture(50, 70)
    found = explain(encoder, image, CAPTION, regions=())
    whole, _ = image_of(stock, image)
    scores = text_of(stock, ["A red ball lies on the left.", "A small blue box stands on the right."]) @ whole
    assert [sentence.score for sentence in found.sentences] == pytest.approx(scores.tolist(), abs=1e-5)
    assert all(sentence.box is None for sentence in found.sentences)


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (224, 224), (401, 150)])
@pytest.mark.parametrize(("side", "patch"), [(64, 16), (66, 16)])  # 66: the patches leave 2 pixels
def test_the_view_is_what_the_patches_see(mode, size, side, patch):
    fit = ImageFit(mode=mode, size=side, resize=side, resample=0)
    grid = side // patch
    view = view_box(*size, fit, grid)
    x1, y1, x2, y2 = (round(value) for value in view)
    y_hw, x_hw = np.mgrid[: size[1], : size[0]]
    inside_hw = (x1 <= x_hw) & (x_hw < x2) & (y1 <= y_hw) & (y_hw < y2)
    seen = _seen(inside_hw, fit, grid * patch)
    on_image = _seen(np.ones_like(inside_hw), fit, grid * patch)
    outside = _seen(~inside_hw, fit, grid * patch)
    margin = slice(1, -1)
    assert (seen[margin, margin] == on_image[margin, margin]).all()
    assert not outside[margin, margin].any()
    # and no smaller: each edge of the view that lies within the image is the edge of what is seen
    shrunk_hw = (x1 + 12 <= x_hw) & (x_hw < x2 - 12) & (y1 + 12 <= y_hw) & (y_hw < y2 - 12)
    less = _seen(shrunk_hw, fit, grid * patch)
    for edge in (less[1], less[-2], less[:, 1], less[:, -2]):
        assert not edge.any()


def _seen(mask_hw, fit, side):
    """A painted mask as the patches get it."""
    image = Image.fromarray(np.where(mask_hw, 255, 0).astype(np.uint8)).convert("RGB")
    return fit_pixels(image, fit)[:side, :side, 0] > 127


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
def test_patches_lie_where_the_protocol_says(mode):
    fit = ImageFit(mode=mode, size=64, resize=64)
    view = view_box(300, 200, fit, 4)
    boxes = [patch_box(view, 4, patch) for patch in range(16)]
    centres = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes]
    np.testing.assert_allclose(centres, patch_centres(300, 200, fit, 4))
    assert boxes[0][:2] == pytest.approx(view[:2])
    assert boxes[-1][2:] == pytest.approx(view[2:])


def test_attention_is_a_map_of_the_same_patches(encoder, metaclip, siglip):
    image = picture(64, 48)
    for model in (encoder, metaclip, siglip):
        found = explain(model, image, CAPTION, regions=(), attention=True)
        assert found.attention_GG.shape == (4, 4)
        assert found.attention_GG.sum() == pytest.approx(1, abs=1e-5)


def test_a_family_without_patch_projection_has_regions_but_no_heat(siglip):
    found = explain(siglip, picture(64, 48), CAPTION)
    assert [sentence.heat_GG for sentence in found.sentences] == [None, None]
    assert all(sentence.box is not None for sentence in found.sentences)
    assert found.view == pytest.approx((0, 0, 64 * 32 / 34, 48 * 32 / 34))  # patches of 8 leave 2 of 34 pixels


def test_sentences_beyond_the_text_limit_are_marked_and_still_compared(encoder):
    caption = " ".join(f"The ball number {number} lies on the left of the table." for number in range(12))
    found = explain(encoder, picture(64, 48), caption, regions=(), words=True)
    visible = [sentence.visible for sentence in found.sentences]
    assert visible == sorted(visible, reverse=True)
    assert 0 < sum(visible) < 12
    alone = explain(encoder, picture(64, 48), caption[slice(*found.sentences[-1].span)], regions=())
    np.testing.assert_allclose(found.sentences[-1].heat_GG, alone.sentences[0].heat_GG, atol=1e-5)
    assert found.words[-1].span[1] <= found.sentences[sum(visible) - 1].span[1]


@pytest.mark.parametrize("caption", ["", "   ", "...", "🎈", "\x00", "<script>alert(1)</script>", "ball " * 3000])
def test_no_caption_is_too_odd(encoder, caption):
    found = explain(encoder, picture(9, 7), caption, regions=FixedRegions().propose([picture(9, 7)])[0], words=True)
    assert np.isfinite(found.similarity)
    assert all(np.isfinite(word.weight) for word in found.words)
    assert len(found.words) <= 150


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (100, 1)])
def test_no_image_is_too_small(encoder, size):
    found = explain(encoder, picture(*size), CAPTION, attention=True)
    for sentence in found.sentences:
        x1, y1, x2, y2 = sentence.box
        assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
        assert np.isfinite(sentence.heat_GG).all()


def test_a_diverged_model_is_named(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    encoder.model.visual_projection.weight.data.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"not finite\. The model has diverged"):
        explain(encoder, picture(64, 48), CAPTION)
