"""Evaluation-only models: BLIP-2 against transformers itself, open_clip against a stand-in for the library, and against
itself where it is installed."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tests.baselines import TEXTS, StandIn, save_blip2, stand_in_open_clip, stand_in_tokenizer
from tests.families import save_siglip
from torch import nn
from transformers import Blip2ForImageTextRetrieval, PreTrainedTokenizerFast
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from fastgoal.cli import main
from fastgoal.data.images import fit_pixels, normalise
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ModelError
from fastgoal.evaluation.metrics import relevant_ranks
from fastgoal.models.baselines import OpenClipRetriever, load_retriever
from fastgoal.models.dual_encoder import DualEncoder


@pytest.fixture(scope="module")
def blip2(tmp_path_factory):
    return save_blip2(tmp_path_factory.mktemp("baselines") / "blip2")


def pictures(count=3):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (30 + 9 * i, 44, 3), dtype=np.uint8)) for i in range(count)]


def test_blip2_scores_are_transformers_own(blip2):
    encoder = load_retriever(str(blip2))
    stock = Blip2ForImageTextRetrieval.from_pretrained(blip2).eval()
    pixels = torch.tensor(np.array(BlipImageProcessorPil.from_pretrained(blip2)(pictures())["pixel_values"]))
    tokens = PreTrainedTokenizerFast.from_pretrained(blip2)(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        wanted = stock(pixel_values=pixels, **inputs, use_image_text_matching_head=False).logits_per_image
    image_NKD = embed_images(encoder, pictures(), batch=2)
    text_QD, truncated_Q = embed_texts(encoder, TEXTS, batch=2)
    assert (image_NKD.shape, text_QD.shape, encoder.text_limit, truncated_Q.any()) == ((3, 4, 12), (3, 12), 20, False)
    found = (image_NKD @ text_QD.T).max(1)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    assert np.ptp(image_NKD @ text_QD.T, axis=1).min() > 1e-3  # the vectors of an image differ


def test_ranks_with_several_vectors_are_those_of_the_best():
    rng = np.random.default_rng(0)
    text_QD, image_NKD = (rng.normal(size=shape).astype(np.float32) for shape in ((90, 6), (70, 3, 6)))
    group_Q = np.arange(90) % 70
    score_QN = np.einsum("qd,nkd->qnk", text_QD, image_NKD).max(2)
    own_Q = score_QN[np.arange(90), group_Q]
    wanted_Q = (score_QN >= own_Q[:, None]).sum(1)
    for block in (None, 64):
        found = relevant_ranks(text_QD, image_NKD, group_Q, np.arange(70), block=block).rank_QJ[:, 0]
        np.testing.assert_array_equal(found, wanted_Q)
    back = relevant_ranks(image_NKD, text_QD, np.arange(70), group_Q, depth=2)
    for image in range(70):
        own = np.flatnonzero(group_Q == image)
        best = score_QN[own, image].max()
        assert back.rank_QJ[image, 0] == 1 + (score_QN[group_Q != image, image] >= best).sum()


def test_blip2_is_evaluated_and_not_trained(blip2, tmp_path, capsys):
    lines = []
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "caption": TEXTS[number]}))
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    for given, code in ((["--tokens", "8"], 0), (["--tokens", "248"], 2), (["--task", "localize"], 2)):
        with pytest.raises(SystemExit) as ended:
            main(["eval", str(blip2), str(tmp_path), *given])
        assert ended.value.code == code
    said = capsys.readouterr()
    assert "3 items, 8 tokens (33.3% of the texts cut)" in said.out
    assert "3 to 20 tokens, not 248" in said.err and "BLIP-2 has no projection for patches" in said.err
    with pytest.raises(ModelError, match="evaluated but not trained"):
        DualEncoder.load(blip2)


def test_a_blip2_without_the_heads_of_retrieval_is_refused(blip2, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(blip2, tmp_path / "generator")
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"missing, the first text_projection\.weight"):
        load_retriever(str(folder))


def test_open_clip_by_its_interface(monkeypatch):
    model, asked = stand_in_open_clip(monkeypatch)
    encoder = load_retriever("open_clip:EVA02-B-16@merged2b")
    assert asked == [(("EVA02-B-16",), {"pretrained": "merged2b", "precision": "fp32"}), "EVA02-B-16"]
    assert (encoder.dim, encoder.text_limit, encoder.fit.mode, encoder.fit.size) == (5, 6, "crop", 16)
    texts = ["ab", "abcd", "abcde"]
    text_QD, truncated_Q = embed_texts(encoder, texts)
    assert truncated_Q.tolist() == [False, False, True]
    with torch.inference_mode():
        wanted_QD = nn.functional.normalize(model.encode_text(stand_in_tokenizer(texts)), dim=-1)
        views = torch.from_numpy(np.stack([fit_pixels(picture, encoder.fit) for picture in pictures()]))
        wanted_ND = nn.functional.normalize(model.encode_image(normalise(views, encoder.fit)), dim=-1)
    np.testing.assert_allclose(text_QD, wanted_QD.numpy(), atol=1e-6)
    np.testing.assert_allclose(embed_images(encoder, pictures()), wanted_ND.numpy(), atol=1e-6)
    with pytest.raises(ModelError, match="cannot change to 4"):
        load_retriever("open_clip:EVA02-B-16@merged2b", text_tokens=4)


@pytest.mark.parametrize("architecture", ["ViT-S-32-alt", "EVA02-B-16", "coca_ViT-B-32"])
def test_open_clip_itself(architecture, tmp_path):
    library = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    weights = tmp_path / "random.pt"
    torch.save(library.create_model(architecture).state_dict(), weights)
    encoder = load_retriever(f"open_clip:{architecture}@{weights}")
    model, _, transform = library.create_model_and_transforms(architecture, pretrained=str(weights))
    model.eval()
    with torch.inference_mode():
        wanted_QD = model.encode_text(library.get_tokenizer(architecture)(TEXTS), normalize=True)
        wanted_ND = model.encode_image(torch.stack([transform(picture) for picture in pictures()]), normalize=True)
    np.testing.assert_allclose(embed_texts(encoder, TEXTS)[0], wanted_QD.numpy(), atol=1e-6)
    np.testing.assert_allclose(embed_images(encoder, pictures()), wanted_ND.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "mode"),
    [({"resize_mode": "squash"}, "squash"), ({"resize_mode": "longest"}, "pad"), ({"size": (16, 16)}, "crop")],
)
def test_open_clips_ways_of_resizing(config, mode):
    assert OpenClipRetriever(StandIn(**config), stand_in_tokenizer).fit.mode == mode


@pytest.mark.parametrize(
    "config", [{"size": (16, 24)}, {"interpolation": "random"}, {"resize_mode": "longest", "fill_color": 255}]
)
def test_other_preprocessing_of_open_clip_is_refused(config):
    with pytest.raises(ModelError, match="not supported"):
        OpenClipRetriever(StandIn(**config), stand_in_tokenizer, name="x")


def test_open_clip_names_are_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModelError, match=r"fastgoal\[openclip\]"):
        load_retriever("open_clip:ViT-B-16@openai")
    for name in ("open_clip:ViT-B-16", "open_clip:@openai"):
        with pytest.raises(ModelError, match="NAME@PRETRAINED"):
            load_retriever(name)
    with pytest.raises(ModelError, match="evaluated but not trained"):
        DualEncoder.load("open_clip:ViT-B-16@openai")


def test_a_dual_encoder_is_still_one(tmp_path):
    assert isinstance(load_retriever(str(save_siglip(tmp_path / "siglip"))), DualEncoder)
