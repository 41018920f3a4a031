"""Patch localisation: centres through the image fit, ranks by hand, and a marked picture that must be found."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import save_small_clip

from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.samples import GivenRegion
from fastgoal.embed import embed_texts
from fastgoal.errors import DataError
from fastgoal.evaluation.localisation import best_rank, evaluate_localisation, located, patch_centres
from fastgoal.evaluation.metrics import NO_RANK
from fastgoal.evaluation.protocols import PROTOCOLS
from fastgoal.evaluation.views import ViewSet
from fastgoal.geometry import ImageFit
from fastgoal.models.dual_encoder import DualEncoder

TOP = replace(PROTOCOLS["localisation"], name="small", ks=(1, 3, 16))


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (224, 224), (400, 150)])
def test_a_mark_on_a_centre_appears_in_its_patch(mode, size):
    fit, grid = ImageFit(mode=mode, size=64, resize=64), 4
    centres = patch_centres(*size, fit, grid)
    seen = 0
    for patch, (x, y) in enumerate(centres):
        if not (4 <= x < size[0] - 4 and 4 <= y < size[1] - 4):
            continue
        image = Image.new("RGB", size)
        image.paste((255, 255, 255), (int(x) - 3, int(y) - 3, int(x) + 4, int(y) + 4))
        view = fit_pixels(image, fit)[..., 0].reshape(grid, 16, grid, 16).astype(float).sum((1, 3))
        assert view.argmax() == patch
        seen += 1
    assert seen >= 4


def test_ranks_by_hand():
    sim_SP = np.array([[0.1, 0.9, 0.5, 0.5], [0.1, 0.9, 0.5, 0.5], [0.1, 0.9, 0.5, 0.5], [0.3, 0.2, 0.1, 0.0]])
    inside_SP = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
    assert best_rank(sim_SP, inside_SP).tolist() == [4, 1, 3, NO_RANK]


def test_top_k_equals_an_obvious_loop(encoder, source):
    result = evaluate_localisation(encoder, source, protocol=TOP, batch=4)
    hits, expected_chance = {k: [] for k in TOP.ks}, []
    for sample in source:
        spans = dict.fromkeys(region.span for region in sample.regions if region.span)
        if not spans:
            continue
        picture = read_image(source.root / sample.image)
        pixels = encoder.image_processor(picture, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            vision = encoder.model.vision_model(pixels)
            tokens = encoder.model.vision_model.post_layernorm(vision.last_hidden_state[0, 1:])
            patches_PD = encoder.model.visual_projection(tokens)
        patches_PD = (patches_PD / patches_PD.norm(dim=-1, keepdim=True)).numpy()
        centres = patch_centres(*picture.size, encoder.fit, 4)
        for start, end in spans:
            text_D = embed_texts(encoder, [sample.caption[start:end]])[0][0]
            boxes = [region.box for region in sample.regions if region.span == (start, end)]
            right = [any(a <= x < c and b <= y < d for a, b, c, d in boxes) for x, y in centres]
            order = np.argsort(-(patches_PD @ text_D))
            for k in TOP.ks:
                hits[k].append(any(right[patch] for patch in order[:k]))
            expected_chance.append(sum(right) / 16)
    assert result.items == len(hits[1]) == 10
    assert result.t2i == {f"top-{k}": pytest.approx(100 * np.mean(hits[k])) for k in TOP.ks}
    assert result.chance["top-1"] == pytest.approx(100 * np.mean(expected_chance))
    assert result.i2t == {}
    assert 0 < result.t2i["top-1"] <= result.t2i["top-16"] == 100


def test_the_published_cut_offs_equal_painted_boxes(source, tmp_path):
    """Top-5, 10 and 15 (FAST-GOAL, Table XVI), with every box painted white and sent through transformers' own image
    processor: a patch is in the box if the four pixels around its centre are white."""
    encoder = DualEncoder.load(save_small_clip(tmp_path / "model", size=32, patch=4))  # 8 x 8 patches
    protocol = PROTOCOLS["localisation"]
    assert protocol.ks == (1, 5, 10, 15)
    ranks, boxed = [], []
    for sample in source:
        picture = read_image(source.root / sample.image)
        draw = np.random.default_rng(len(boxed))
        with torch.no_grad():
            pixels = encoder.image_processor(picture, return_tensors="pt")["pixel_values"]
            vision = encoder.model.vision_model(pixels)
            patches_PD = encoder.model.visual_projection(encoder.model.vision_model.post_layernorm(
                vision.last_hidden_state[0, 1:]))  # fmt: skip
        patches_PD = patches_PD / patches_PD.norm(dim=-1, keepdim=True)
        text_D = embed_texts(encoder, [sample.caption])[0][0]
        found = False
        while not found:  # a small box whose edges pass no centre, so that smoothing cannot decide
            x, y = draw.integers(0, picture.width - 12), draw.integers(0, picture.height - 12)
            box = (x, y, x + draw.integers(8, 13), y + draw.integers(8, 13))
            paper = Image.new("RGB", picture.size)
            paper.paste((255, 255, 255), tuple(int(v) for v in box))
            painted = encoder.image_processor(paper, return_tensors="np", do_normalize=False)["pixel_values"][0, 0]
            white = [painted[r - 1 : r + 1, c - 1 : c + 1].mean() for r in range(2, 32, 4) for c in range(2, 32, 4)]
            found = any(w > 0.8 for w in white) and all(w < 0.2 or w > 0.8 for w in white)
        order = sorted(range(64), key=lambda patch: -float(patches_PD[patch].numpy() @ text_D))
        ranks.append(next(rank for rank, patch in enumerate(order, start=1) if white[patch] > 0.8))
        region = GivenRegion(box=tuple(float(v) for v in box), span=(0, len(sample.caption)))
        boxed.append(replace(sample, regions=(region,)))
    result = evaluate_localisation(encoder, replace(source, entries=tuple(boxed)), protocol=protocol)
    assert result.queries["t2i"].rank_Q.tolist() == ranks
    for k in (5, 10, 15):
        assert result.t2i[f"top-{k}"] == pytest.approx(100 * np.mean([rank <= k for rank in ranks]))
    assert len(set(ranks)) > 4 and min(ranks) <= 15 < max(ranks)


def test_chance_of_several_patches_equals_drawing_them(encoder, source):
    result = evaluate_localisation(encoder, source, protocol=TOP)
    rng, drawn = np.random.default_rng(0), []
    for sample in source:
        width, height = read_image(source.root / sample.image).size
        for span in dict.fromkeys(region.span for region in sample.regions if region.span):
            boxes = [region.box for region in sample.regions if region.span == span]
            centres = patch_centres(width, height, encoder.fit, 4)
            right = np.array([any(a <= x < c and b <= y < d for a, b, c, d in boxes) for x, y in centres])
            drawn.append(np.mean([right[rng.permutation(16)[:3]].any() for _ in range(2000)]))
    assert result.chance["top-3"] == pytest.approx(100 * np.mean(drawn), abs=1.5)


def test_a_box_that_the_fit_cuts_away_is_a_miss(encoder, source):
    tall = next(sample for sample in source if sample.image == "2.png")  # 48 x 90: the top 21 rows are cut away
    region = replace(tall.regions[0], box=(0, 0, 48, 20))
    cut = replace(source, entries=(replace(tall, regions=(region,)),))
    result = evaluate_localisation(encoder, cut, protocol=TOP)
    assert result.t2i == {"top-1": 0.0, "top-3": 0.0, "top-16": 0.0}
    assert result.counts["out_of_view"] == 1


def test_in_caption_equals_pooling_by_hand(encoder, source):
    protocol = replace(TOP, reading="in-caption")
    result = evaluate_localisation(encoder, source, protocol=protocol, batch=1)
    sample = next(sample for sample in source if sample.id == "s3")
    start, end = sample.regions[2].span
    tokens = encoder.tokenize([sample.caption])
    with torch.no_grad():
        last_TW = encoder.encode_texts(tokens).tokens_BTW[0]
        mine = [t for t, (a, b) in enumerate(tokens.offsets_BT2[0]) if a < end and b > start and b > a]
        text_D = encoder.project_tokens(last_TW[mine].mean(0, keepdim=True))[0]
        picture = read_image(source.root / sample.image)
        pixels = encoder.image_processor(picture, return_tensors="pt")["pixel_values"]
        sim_P = (encoder.project_patches(encoder.encode_images(pixels).patches_BPW[0]) @ text_D).numpy()
    a, b, c, d = sample.regions[2].box
    right = [a <= x < c and b <= y < d for x, y in patch_centres(*picture.size, encoder.fit, 4)]
    position = next(rank for rank, patch in enumerate(np.argsort(-sim_P), start=1) if right[patch])
    index = result.queries["t2i"].id_Q.tolist().index(f"s3#{start}-{end}")
    assert result.queries["t2i"].rank_Q[index] == position


def test_in_caption_beyond_the_text_limit_is_a_miss(encoder, source):
    sample = next(sample for sample in source if sample.id == "s3")
    text = "word " * 100 + sample.caption
    late = replace(sample, caption=text, regions=(replace(sample.regions[2], span=(510, len(text))),))
    result = evaluate_localisation(
        encoder, replace(source, entries=(late,)), protocol=replace(TOP, reading="in-caption")
    )
    assert result.t2i["top-16"] == 0
    assert result.truncated_share == 1


def test_kept_views_and_no_truth(encoder, source):
    views = ViewSet.of(located(source), encoder.fit)
    assert len(views) == 5
    kept = [evaluate_localisation(encoder, source, protocol=TOP, views=views) for _ in range(2)]
    assert kept[0].t2i == kept[1].t2i == evaluate_localisation(encoder, source, protocol=TOP).t2i
    blind = replace(source, entries=tuple(replace(sample, regions=()) for sample in source))
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate_localisation(encoder, blind)
