"""Every family against transformers itself, from the same folder."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import save_small_clip
from tests.families import save_metaclip_2, save_siglip
from torch import nn
from transformers import AutoModel, AutoProcessor

from fastgoal.data.images import fit_pixels
from fastgoal.errors import ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.families import FAMILIES
from fastgoal.models.tokens import token_weights

SAVE = {"clip": save_small_clip, "metaclip_2": save_metaclip_2, "siglip": save_siglip}
TEXTS = ["A red ball.", "Ein altes Haus am See, 3.5 m hoch. " * 9, "a", "A small blue box stands on the right."]
PADDING = {"clip": True, "metaclip_2": True, "siglip": "max_length"}
STOCK = """
import sys, torch
from PIL import Image
from transformers import AutoProcessor, MetaClip2Model, SiglipModel
texts = ["A red ball.", "ball " * 500]
for model_class, padding, folder in ((MetaClip2Model, True, "metaclip_2"), (SiglipModel, "max_length", "siglip")):
    model = model_class.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    inputs = processor(
        text=texts, images=Image.open("image.png"), padding=padding, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        result = model(**inputs)
    torch.save({"text": result.text_embeds, "image": result.image_embeds}, folder + ".pt")
assert not [name for name in sys.modules if "fastgoal" in name]
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("families")
    return {kind: save(place / kind) for kind, save in SAVE.items()}


@pytest.fixture(params=SAVE)
def kind(request):
    return request.param


@pytest.fixture
def encoder(folders, kind):
    return DualEncoder.load(folders[kind])


def picture(width=57, height=40, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def close(found, wanted, atol=1e-5):
    torch.testing.assert_close(found, wanted, atol=atol, rtol=0)


def test_every_family_is_tested_here():
    assert set(SAVE) == set(FAMILIES)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_embeddings_are_transformers_own(folders, kind, attention):
    encoder = DualEncoder.load(folders[kind])
    encoder.model.set_attn_implementation(attention)
    stock = AutoModel.from_pretrained(folders[kind], attn_implementation=attention).eval()
    inputs = AutoProcessor.from_pretrained(folders[kind])(
        text=TEXTS,
        images=[picture(), picture(31, 90, 1)],
        padding=PADDING[kind],
        truncation=True,
        max_length=encoder.text_limit,
        return_tensors="pt",
    )
    with torch.inference_mode():
        images, (texts,) = encoder(inputs["pixel_values"], [encoder.tokenize(TEXTS)])
        wanted_images = stock.get_image_features(inputs["pixel_values"]).pooler_output
        inputs.pop("pixel_values")
        wanted_texts = stock.get_text_features(**inputs).pooler_output
    close(images.embedding_BD, nn.functional.normalize(wanted_images, dim=-1))
    close(texts.embedding_BD, nn.functional.normalize(wanted_texts, dim=-1))
    assert images.embedding_BD.shape[1] == texts.embedding_BD.shape[1] == encoder.dim
    assert images.patches_BPW.shape[1] == encoder.grid**2


def test_attention_is_torchs_own_without_masks_and_equals_the_eager_one(folders, kind, monkeypatch):
    """A mask, even a causal one, would keep torch from its flash kernels; the flag does not."""
    encoder, calls, attend = DualEncoder.load(folders[kind]), [], nn.functional.scaled_dot_product_attention

    def spy(*args, attn_mask=None, is_causal=False, **options):
        calls.append((attn_mask, is_causal))
        return attend(*args, attn_mask=attn_mask, is_causal=is_causal, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", spy)
    size, found = encoder.fit.size, {}
    pixels, texts = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0)), encoder.tokenize(TEXTS)
    for attention in ("as loaded", "eager"):
        if attention == "eager":
            assert calls == [(None, False)] * 2 + [(None, kind != "siglip")] * 2  # two layers per tower
            encoder.model.set_attn_implementation(attention)
        encoder.zero_grad()
        images, (captions,) = encoder(pixels, [texts])
        (images.embedding_BD.sum() + captions.embedding_BD.sum()).backward()
        gradients = {name: weights.grad for name, weights in encoder.named_parameters() if weights.grad is not None}
        found[attention] = images.embedding_BD, captions.embedding_BD, gradients
    assert len(calls) == 4
    for sdpa, eager in zip(found["as loaded"][:2], found["eager"][:2], strict=True):
        close(sdpa, eager)
    for name, gradient in found["as loaded"][2].items():
        torch.testing.assert_close(gradient, found["eager"][2][name], atol=1e-4, rtol=1e-3)


def test_the_fit_gives_the_pixels_of_the_processor(folders, encoder, kind):
    processor = AutoProcessor.from_pretrained(folders[kind], backend="pil").image_processor
    for size in ((57, 40), (40, 57), (33, 91), (20, 20)):
        mean, std = (np.array(values, np.float32) for values in (encoder.fit.mean, encoder.fit.std))
        ours_HWC = (fit_pixels(picture(*size), encoder.fit) / np.float32(255) - mean) / std
        theirs_CHW = np.asarray(processor(picture(*size))["pixel_values"][0])
        np.testing.assert_allclose(ours_HWC.transpose(2, 0, 1), theirs_CHW, atol=1e-5)


def test_neither_batch_mates_nor_padding_nor_batch_size_count(encoder):
    pixels = torch.randn(3, 3, encoder.fit.size, encoder.fit.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, (texts,) = encoder(pixels, [encoder.tokenize(TEXTS)])
        for row, text in enumerate(TEXTS):
            close(encoder.encode_texts(encoder.tokenize([text])).embedding_BD, texts.embedding_BD[row : row + 1])
        for row in range(3):
            close(encoder.encode_images(pixels[row : row + 1]).embedding_BD, together.embedding_BD[row : row + 1])


def test_the_last_word_counts(encoder):
    """Right end, right mask: a model read at the wrong token would not see what comes behind it."""
    captions = [f"a red ball lies on the left of the {word}" for word in ("table", "chair", "lamp")]
    with torch.inference_mode():
        embedding_BD = encoder.encode_texts(encoder.tokenize(captions)).embedding_BD
    similarity_BB = embedding_BD @ embedding_BD.T
    assert (similarity_BB[~torch.eye(3, dtype=torch.bool)] < 1 - 1e-4).all()


def test_a_sentences_tokens_are_its_own(encoder):
    caption = "A red ball lies on the table. Ein altes Haus am See, 3.5 m hoch. A box."
    start = caption.index("Ein")
    span = (start, caption.index(" A box"))
    batch = encoder.tokenize([caption])
    chosen = batch.offsets_BT2[0][token_weights(batch.offsets_BT2, [span])[0] > 0]
    covered = {place for first, last in chosen for place in range(first, last)}
    wanted = {place for place in range(*span) if not caption[place].isspace()}
    assert wanted <= covered
    assert all(caption[place].isspace() for place in covered - set(range(*span)))


def test_stock_transformers_reads_what_we_write(folders, tmp_path):
    picture().save(tmp_path / "image.png")
    encoders = {kind: DualEncoder.load(folders[kind]) for kind in ("metaclip_2", "siglip")}
    for kind, encoder in encoders.items():
        encoder.tokenize(["an earlier call", "must leave nothing behind"])
        encoder.save(tmp_path / kind)
    subprocess.run([sys.executable, "-c", STOCK], check=True, cwd=tmp_path)
    for kind, encoder in encoders.items():
        stock = torch.load(tmp_path / f"{kind}.pt")
        pixels = torch.tensor(np.array(encoder.image_processor(picture())["pixel_values"]))
        with torch.inference_mode():
            images, (texts,) = encoder(pixels, [encoder.tokenize(["A red ball.", "ball " * 500])])
        close(texts.embedding_BD, stock["text"])
        close(images.embedding_BD, stock["image"])


def test_saving_and_loading_change_nothing(encoder, tmp_path):
    encoder.save(tmp_path / "model")
    again = DualEncoder.load(tmp_path / "model")
    assert (again.fingerprint, again.fit, again.text_limit) == (encoder.fingerprint, encoder.fit, encoder.text_limit)


def test_gradients_reach_every_weight(encoder, kind):
    pixels = torch.randn(2, 3, encoder.fit.size, encoder.fit.size)
    images, (texts,) = encoder(pixels, [encoder.tokenize(TEXTS[:2])])
    logits = encoder.logit_scale * images.embedding_BD @ texts.embedding_BD.T
    logits = logits if encoder.logit_bias is None else logits + encoder.logit_bias
    (logits * torch.tensor([[1.0, 2.0], [3.0, 5.0]])).sum().backward()
    assert [name for name, weight in encoder.named_parameters() if weight.grad is None] == []
    assert encoder.logit_scale.ndim == 0


@pytest.mark.parametrize("kind", ["clip", "metaclip_2"], indirect=True)
def test_a_stretched_model_reads_longer_texts(encoder):
    encoder.set_text_limit(encoder.limit_for(None))
    assert encoder.text_limit == 248
    assert encoder.encode_texts(encoder.tokenize(["ball " * 300])).tokens_BTW.shape[1] == 248


@pytest.mark.parametrize("kind", ["siglip"], indirect=True)
def test_siglip_keeps_its_text_limit_and_its_scale(encoder):
    assert encoder.limit_for(None) == encoder.text_limit == 64
    encoder.set_text_limit(64)
    for tokens in (248, 32):
        with pytest.raises(ModelError, match="SigLIP reads 64 tokens, and its text limit cannot change"):
            encoder.set_text_limit(tokens)
    encoder.bound_logit_scale()
    assert encoder.logit_scale.item() == pytest.approx(np.exp(4.76), rel=1e-5)  # above CLIP's bound of 100
    with pytest.raises(ModelError, match="position 64"):
        encoder.encode_texts(replace(encoder.tokenize(["a"]), input_ids_BT=torch.ones(1, 7, dtype=torch.long)))
    with pytest.raises(ModelError, match="no projection"):
        encoder.project_patches(torch.zeros(1, 24))


@pytest.mark.parametrize("kind", ["siglip"], indirect=True)
def test_siglip_reads_without_a_mask_whatever_its_tokenizer_says(folders, tmp_path, kind):
    folder = shutil.copytree(folders[kind], tmp_path / "masking")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder, plain = DualEncoder.load(folder), DualEncoder.load(folders[kind])
    with torch.inference_mode():
        close(*(e.encode_texts(e.tokenize(TEXTS)).embedding_BD for e in (encoder, plain)), atol=0)
    encoder.save(tmp_path / "saved")
    assert "attention_mask" not in AutoProcessor.from_pretrained(tmp_path / "saved")(text=["a"])


def test_an_end_token_that_the_model_does_not_know_is_refused(folders, tmp_path):
    """MetaCLIP 2 has no legacy way: 2 means the token 2, and nothing else may end a text."""
    folder = shutil.copytree(folders["metaclip_2"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert config["text_config"]["eos_token_id"] == 2
    config["text_config"]["eos_token_id"] = 49407
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="texts end with token 49407, the tokenizer ends them with 2"):
        DualEncoder.load(folder)


@pytest.mark.parametrize(
    ("found", "says"), [("siglip2", "NaFlex"), ("blip-2", "evaluated but not trained"), ("bert", "")]
)
def test_other_architectures_are_refused_by_name(folders, tmp_path, found, says):
    folder = shutil.copytree(folders["siglip"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": found}))
    with pytest.raises(ModelError, match=f'"{found}", which is not supported.*{says}') as caught:
        DualEncoder.load(folder)
    assert caught.value.mend


def test_a_siglip_without_its_head_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["siglip"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["vision_use_head"] = False
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="no pooling head"):
        DualEncoder.load(folder)


@pytest.mark.parametrize(("size", "patch"), [(28, 14), (64, 32), (56, 14), (48, 16)])
def test_clip_of_any_patch_and_size(tmp_path, size, patch):
    encoder = DualEncoder.load(save_small_clip(tmp_path / "clip", size=size, patch=patch))
    with torch.inference_mode():
        patches_BPW = encoder.encode_images(torch.randn(1, 3, size, size)).patches_BPW
    assert (encoder.patch, encoder.grid, patches_BPW.shape[1]) == (patch, size // patch, (size // patch) ** 2)
