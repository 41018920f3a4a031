"""open_clip's layout: an independent forward on the written keys, and the way back through `convert`.

The library itself needs torchvision, and is asked where it is installed.
"""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.models.checkpoints.reference import encode_images, encode_texts, state_dict
from transformers import AutoTokenizer, CLIPModel

from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError
from fastgoal.export import export
from fastgoal.models.checkpoints import Wishes, convert
from fastgoal.models.dual_encoder import DualEncoder

TEXTS = ["A red ball lies on the left of the wooden table.", "an old brown dog", "é 🎈 x " * 90]


@pytest.mark.parametrize("family", ["tiny", "clip with the end as 2"])
def test_an_independent_forward_gives_our_embeddings(family, families, tmp_path):
    encoder, out = families[family], tmp_path / "out"
    export(encoder, out, "open-clip")
    weights = load_file(out / "open_clip_model.safetensors")
    config = json.loads((out / "open_clip_config.json").read_text())
    model = config["model_cfg"]
    text, vision = model["text_cfg"], model["vision_cfg"]
    assert {first_block(key) for key in weights} == {first_block(key) for key in state_dict(text["vocab_size"])}
    activation = "quick_gelu" if model["quick_gelu"] else "gelu"
    side = vision["image_size"]
    pixels_BCHW = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    heads = vision["width"] // vision["head_width"]
    image_BD = encode_images(weights, pixels_BCHW, heads=heads, activation=activation)
    tokenizer = AutoTokenizer.from_pretrained(out)  # as open_clip's HFTokenizer calls it
    limit = text["context_length"]
    ids = tokenizer(TEXTS, max_length=limit, padding="max_length", truncation=True, return_tensors="pt").input_ids
    text_BD = encode_texts(weights, ids, heads=text["heads"], activation=activation)
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels_BCHW).embedding_BD, image_BD, atol=1e-5, rtol=0)
        ours_BD = encoder.encode_texts(encoder.tokenize(TEXTS)).embedding_BD
    torch.testing.assert_close(ours_BD, text_BD, atol=1e-5, rtol=0)
    assert limit == encoder.text_limit
    assert (vision["mlp_ratio"] * vision["width"], text["layers"]) == (
        encoder.model.config.vision_config.intermediate_size,
        encoder.model.config.text_config.num_hidden_layers,
    )
    assert config["preprocess_cfg"]["interpolation"] == "bicubic"
    assert config["preprocess_cfg"]["resize_mode"] == "shortest"


def test_the_library_itself_gives_our_embeddings(families, tmp_path):
    library = pytest.importorskip("open_clip")
    encoder, out = families["tiny"], tmp_path / "out"
    export(encoder, out, "open-clip")
    model, _, transform = library.create_model_and_transforms(f"local-dir:{out}")
    model.eval()
    pictures = [Image.effect_noise(size, 90).convert("RGB") for size in ((96, 96), (128, 96), (96, 200))]
    with torch.inference_mode():
        image_BD = model.encode_image(torch.stack([transform(picture) for picture in pictures]), normalize=True)
        text_BD = model.encode_text(library.get_tokenizer(f"local-dir:{out}")(TEXTS), normalize=True)
    np.testing.assert_allclose(embed_images(encoder, pictures), image_BD.numpy(), atol=1e-5)
    np.testing.assert_allclose(embed_texts(encoder, TEXTS)[0], text_BD.numpy(), atol=1e-5)


def first_block(key):
    return re.sub(r"resblocks\.\d+", "resblocks.0", key)


def test_the_way_back_is_the_same_model(families, tmp_path):
    encoder, out = families["tiny"], tmp_path / "out"
    done = export(encoder, out, "open-clip")
    assert {check.what for check in done.checks} == {"texts", "images"}
    wishes = Wishes(model_config=out / "open_clip_config.json")
    back = convert(out / "open_clip_model.safetensors", tmp_path / "back", tokenizer=str(out), wishes=wishes)
    assert (back.layout, back.settings.from_where["heads"]) == ("open_clip", "the config's")
    again = DualEncoder.load(tmp_path / "back")
    for name, weight in encoder.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], weight, atol=0, rtol=0)
    assert again.fingerprint == encoder.fingerprint
    assert CLIPModel.from_pretrained(tmp_path / "back").config.text_config.hidden_act == "gelu"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda e: setattr(e.model.config.text_config, "hidden_act", "quick_gelu"), "its activation is gelu and quick"),
        (lambda e: setattr(e.model.config.vision_config, "layer_norm_eps", 1e-6), "an epsilon other than"),
        (lambda e: setattr(e.model.config.text_config, "vocab_size", 2000), "reads a text at its highest id"),
        (lambda e: object.__setattr__(e.fit, "resize", 110), "resized to 110 pixels and cut to 96"),
        (lambda e: object.__setattr__(e.fit, "resample", 0), "a filter other than"),
    ],
)
def test_what_open_clip_would_compute_otherwise_is_refused(spoil, reason, tmp_path):
    encoder = DualEncoder.load("tiny")
    spoil(encoder)
    with pytest.raises(ConfigError, match=reason):
        export(encoder, tmp_path / "out", "open-clip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("family", "title"), [("siglip", "SigLIP"), ("metaclip_2", "MetaCLIP 2")])
def test_other_families_are_refused_by_name(family, title, families, tmp_path):
    with pytest.raises(ConfigError, match=f"it is a {title}, and only plain CLIPs"):
        export(families[family], tmp_path / "out", "open-clip")
    assert not list(tmp_path.iterdir())
