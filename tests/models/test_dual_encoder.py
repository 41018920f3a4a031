"""The dual encoder against transformers itself."""

import copy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import CLIPModel, CLIPProcessor

from fastgoal.models.dual_encoder import DualEncoder

TEXTS = ["A red ball.", "A small blue box stands on the right, next to a green lamp. " * 3, "", "Ein Haus, 3.5 m 🎈"]
STOCK = """
import sys, torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor
image, *folders = sys.argv[1:]
texts = ["A red ball.", "ball " * 500]
for folder in folders:
    clip, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder, backend="pil")
    inputs = processor(text=texts, images=Image.open(image), padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        result = clip(**inputs)
    torch.save({"text": result.text_embeds, "image": result.image_embeds, "ids": inputs["input_ids"]}, folder + ".pt")
assert not [name for name in sys.modules if "fastgoal" in name]
"""


@pytest.fixture(scope="module")
def encoder(small_clip_folder):
    return DualEncoder.load(small_clip_folder)


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def close(found, wanted, atol=1e-6):
    torch.testing.assert_close(found, wanted, atol=atol, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_features_are_transformers_own(small_clip_folder, pixels, attention):
    encoder = DualEncoder.load(small_clip_folder)
    encoder.model.set_attn_implementation(attention)
    clip = CLIPModel.from_pretrained(small_clip_folder, attn_implementation=attention).eval()
    inputs = CLIPProcessor.from_pretrained(small_clip_folder)(
        text=TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        images, (texts,) = encoder(pixels, [encoder.tokenize(TEXTS)])
        wanted_images = clip.get_image_features(pixels, output_hidden_states=True)
        wanted_texts = clip.get_text_features(**inputs, output_hidden_states=True)
    close(images.embedding_BD, nn.functional.normalize(wanted_images.pooler_output, dim=-1))
    close(texts.embedding_BD, nn.functional.normalize(wanted_texts.pooler_output, dim=-1))
    close(images.patches_BPW, wanted_images.hidden_states[-1][:, 1:], atol=1e-5)
    real_BT = inputs["attention_mask"].bool()
    close(texts.tokens_BTW[real_BT], wanted_texts.hidden_states[-1][real_BT], atol=1e-5)
    close(
        clip.text_model.final_layer_norm(texts.tokens_BTW[real_BT]), wanted_texts.last_hidden_state[real_BT], atol=1e-5
    )


def test_projections_norm_exactly_once(encoder, pixels):
    """Projecting the class token, or the end token, must give the embedding itself."""
    batch = encoder.tokenize(TEXTS)
    with torch.inference_mode():
        class_BW = encoder.model.vision_model(pixels).last_hidden_state[:, 0]
        images, (texts,) = encoder(pixels, [batch])
        end_BW = texts.tokens_BTW[torch.arange(len(batch)), batch.attention_mask_BT.sum(dim=1) - 1]
        close(encoder.project_patches(class_BW), images.embedding_BD)
        close(encoder.project_tokens(end_BW), texts.embedding_BD)


def test_embeddings_do_not_depend_on_batch_mates_or_padding(encoder, pixels):
    with torch.inference_mode():
        together, (texts,) = encoder(pixels, [encoder.tokenize(TEXTS)])
        for row, text in enumerate(TEXTS):
            close(encoder.encode_texts(encoder.tokenize([text])).embedding_BD, texts.embedding_BD[row : row + 1], 1e-5)
        for row in range(3):
            close(encoder.encode_images(pixels[row : row + 1]).embedding_BD, together.embedding_BD[row : row + 1], 1e-5)


@pytest.mark.parametrize("text_tokens", [None, 248])
def test_the_last_word_counts(small_clip_folder, text_tokens):
    encoder = DualEncoder.load(small_clip_folder, text_tokens=text_tokens)
    ids = (encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id)
    assert ids == (len(encoder.tokenizer) - 2, len(encoder.tokenizer) - 1)
    assert encoder.model.config.text_config.eos_token_id == ids[1]
    captions = [f"A red ball lies on the left of the {word}" for word in ("table", "chair", "garden")]
    with torch.inference_mode():
        embedding_BD = encoder.encode_texts(encoder.tokenize(captions)).embedding_BD
    similarity_BB = embedding_BD @ embedding_BD.T
    assert (similarity_BB[~torch.eye(3, dtype=torch.bool)] < 1 - 1e-4).all()


def test_stock_transformers_reads_the_folder(small_clip_folder, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 57, 3), dtype=np.uint8))
    image.save(tmp_path / "image.png")
    own, long = (DualEncoder.load(small_clip_folder, text_tokens=tokens) for tokens in (None, 248))
    own.save(tmp_path / "own")
    long.save(tmp_path / "long")
    subprocess.run([sys.executable, "-c", STOCK, "image.png", "own", "long"], check=True, cwd=tmp_path)
    pixel_values = torch.tensor(np.array(own.image_processor(image)["pixel_values"]))
    for encoder, name in ((own, "own"), (long, "long")):
        stock = torch.load(tmp_path / f"{name}.pt")
        batch = encoder.tokenize(["A red ball.", "ball " * 500])
        with torch.inference_mode():
            images, (texts,) = encoder(pixel_values, [batch])
        assert torch.equal(stock["ids"], batch.input_ids_BT)
        close(texts.embedding_BD, stock["text"])
        close(images.embedding_BD, stock["image"])


def test_saving_and_loading_change_nothing(encoder, tmp_path):
    encoder.save(tmp_path / "new" / "model")
    again = DualEncoder.load(tmp_path / "new" / "model")
    assert again.fingerprint == encoder.fingerprint
    assert (again.fit, again.text_limit) == (encoder.fit, encoder.text_limit)
    assert {file.name for file in (tmp_path / "new" / "model").iterdir()} == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
        *("preprocessor_config.json", "processor_config.json"),
    }
    weights = dict(again.model.named_parameters())
    assert all(torch.equal(weights[name], weight) for name, weight in encoder.model.named_parameters())


def test_the_fingerprint_sees_weights_text_limit_and_fit(encoder):
    def changed(change):
        other = copy.deepcopy(encoder)
        change(other)
        return other.fingerprint

    def nudge(other):
        next(other.model.parameters()).data.view(-1)[0] += 1e-3

    def refit(other):
        other.fit = replace(other.fit, resample=2)

    before = encoder.fingerprint
    encoder.tokenize(["a", "red ball"])
    prints = [before, changed(nudge), changed(lambda other: other.set_text_limit(100)), changed(refit)]
    assert encoder.fingerprint == changed(lambda other: None) == before
    assert len(set(prints)) == 4
    assert len(before) == 16


def test_facts_about_the_model(encoder):
    assert (encoder.grid, encoder.patch, encoder.dim, encoder.text_limit) == (4, 8, 24, 77)
    assert (encoder.fit.mode, encoder.fit.size, encoder.fit.resize, encoder.fit.resample) == ("crop", 32, 32, 3)
    assert encoder.device == torch.device("cpu")
    assert not encoder.training


def test_weights_are_float32_whatever_they_are_stored_in(small_clip_folder, tmp_path):
    half = DualEncoder.load(small_clip_folder)
    half.model.to(torch.bfloat16)
    half.save(tmp_path)
    assert {weight.dtype for weight in DualEncoder.load(tmp_path).parameters()} == {torch.float32}


def test_the_logit_scale_stops_at_100_and_can_come_back(small_clip_folder):
    encoder = DualEncoder.load(small_clip_folder)
    for start, wanted in ((2.0, np.exp(2.0)), (np.log(100) + 0.5, 100.0)):
        encoder.model.logit_scale.data.fill_(start)
        encoder.model.logit_scale.grad = None
        encoder.logit_scale.backward()
        assert encoder.logit_scale.item() == pytest.approx(wanted, rel=1e-6)
        assert encoder.model.logit_scale.grad > 0


def test_gradients_reach_every_weight(encoder, pixels):
    other = copy.deepcopy(encoder)
    images, (texts,) = other(pixels, [other.tokenize(TEXTS[:3])])
    patches, tokens = other.project_patches(images.patches_BPW.mean(1)), other.project_tokens(texts.tokens_BTW[:, 1])
    loss = ((images.embedding_BD - texts.embedding_BD) ** 2).sum() * other.logit_scale
    (loss + (patches - tokens.detach().roll(1, 0)).square().sum() + tokens[:, 0].sum()).backward()
    assert [name for name, weight in other.named_parameters() if weight.grad is None] == []


def test_forward_takes_what_it_is_given(encoder, pixels):
    images, texts = encoder(pixels)
    assert images is not None
    assert texts == []
    images, texts = encoder(texts=[encoder.tokenize(["a"]), encoder.tokenize(["b", "c"])])
    assert images is None
    assert [len(text.embedding_BD) for text in texts] == [1, 2]


def test_autocast_still_gives_float32_embeddings(encoder, pixels):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        images, (texts,) = encoder(pixels, [encoder.tokenize(TEXTS)])
    for embedding_BD in (images.embedding_BD, texts.embedding_BD):
        assert embedding_BD.dtype == torch.float32
        close(embedding_BD.norm(dim=-1), torch.ones(len(embedding_BD)))
