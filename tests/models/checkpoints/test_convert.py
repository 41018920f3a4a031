"""A converted folder embeds as the checkpoint's own architecture does, written out independently."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import save_small_clip, small_tokenizer
from tests.models.checkpoints.reference import Small, encode_images, encode_texts, state_dict
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

from fastgoal.cli import main
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.errors import ModelError
from fastgoal.models.checkpoints import Wishes, convert
from fastgoal.models.dual_encoder import DualEncoder

TEXTS = ["A red ball lies on the left of the wooden table.", "an old brown dog", "é 🎈 x " * 40]
VOCABULARY = len(small_tokenizer())
HEADS = (3, 2)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, ScenesConfig(train=1, val=1, test=4), progress=False)
    return folder / "test"


def ids_of(texts, positions, folder):
    """Token ids as OpenAI's tokenizer gives them: cut with the end token kept, padded with 0 to the limit."""
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    ids_BT = torch.zeros(len(texts), positions, dtype=torch.long)
    for row, ids in enumerate(tokenizer(texts).input_ids):
        ids = ids[: positions - 1] + ids[-1:] if len(ids) > positions else ids
        ids_BT[row, : len(ids)] = torch.tensor(ids)
    return ids_BT


def openai(path, positions=77):
    torch.save(weights := state_dict(VOCABULARY, Small(positions=positions)), path / "ViT.pt")
    return path / "ViT.pt", weights, "quick_gelu", ""


def openai_half(path):
    weights = {key: value.half() for key, value in state_dict(VOCABULARY).items()}
    extra = {"input_resolution": torch.tensor(24), "context_length": torch.tensor(77), "vocab_size": torch.tensor(99)}
    torch.save(weights | extra, path / "ViT.pt", _use_new_zipfile_serialization=False)
    return path / "ViT.pt", {key: value.float() for key, value in weights.items()}, "quick_gelu", ""


def longclip(path):
    weights = state_dict(VOCABULARY, Small(positions=248), second_table=True)
    torch.save(weights, path / "longclip-B.pt")
    return path / "longclip-B.pt", weights, "quick_gelu", ""


def open_clip_training(path):
    weights = state_dict(VOCABULARY)
    wrapped = {f"module.{key}": value for key, value in weights.items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3}]}
    torch.save({"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": optimizer}, path / "epoch_3.pt")
    return path / "epoch_3.pt", weights, "gelu", ""


def open_clip_bin(path):
    torch.save(weights := state_dict(VOCABULARY), path / "open_clip_pytorch_model.bin")
    return path / "open_clip_pytorch_model.bin", weights, "gelu", ""


def open_clip_custom(path):
    weights = state_dict(VOCABULARY, text="text.")
    stored = weights | {"logit_scale": weights["logit_scale"].reshape(1), "text.attn_mask": torch.zeros(77, 77)}
    save_file({key: value.contiguous() for key, value in stored.items()}, path / "model.safetensors")
    return path / "model.safetensors", weights, "gelu", "text."


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (openai, "OpenAI CLIP"),
        (openai_half, "OpenAI CLIP"),
        (longclip, "Long-CLIP"),
        (open_clip_training, "open_clip"),
        (open_clip_bin, "open_clip"),
        (open_clip_custom, "open_clip (text tower under 'text.')"),
    ],
)
def test_openai_like_layouts_embed_as_their_architecture(make, layout, tmp_path, small_clip_folder, scenes):
    file, weights, activation, text = make(tmp_path)
    done = convert(file, tmp_path / "out", tokenizer=str(small_clip_folder), wishes=Wishes(heads=HEADS))
    positions = len(weights[f"{text}positional_embedding"])
    assert (done.layout, done.settings.activation, done.sizes.positions) == (layout, activation, positions)
    pixels_BCHW = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    image_BD = encode_images(weights, pixels_BCHW, heads=3, activation=activation)
    ids_BT = ids_of(TEXTS, positions, small_clip_folder)
    text_BD = encode_texts(weights, ids_BT, heads=2, activation=activation, text=text)
    encoder = DualEncoder.load(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_images(pixels_BCHW).embedding_BD, image_BD, atol=1e-5, rtol=0)
        ours_BD = encoder.encode_texts(encoder.tokenize(TEXTS)).embedding_BD
    torch.testing.assert_close(ours_BD, text_BD, atol=1e-5, rtol=0)
    other = next(name for name in ("gelu", "quick_gelu") if name != activation)
    far = encode_images(weights, pixels_BCHW, heads=3, activation=other)
    assert (far - image_BD).abs().max() > 1e-4, "the test would not see another activation"
    assert encoder.logit_scale.item() == pytest.approx(torch.tensor(3.5).exp())
    assert evaluated(tmp_path, scenes)["text_tokens"] == positions


def evaluated(folder, scenes):
    with pytest.raises(SystemExit) as end:
        main(["eval", str(folder / "out"), str(scenes), "--json", str(folder / "result.json")])
    assert end.value.code == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["items"] == 4
    return result


@pytest.mark.parametrize("wrap", [False, True])
def test_goals_checkpoints_embed_as_transformers(wrap, tmp_path, scenes):
    source = save_small_clip(tmp_path / "source", positions=248, seed=5)
    clip = CLIPModel.from_pretrained(source)
    weights = {**clip.state_dict(), "text_model.embeddings.position_ids": torch.arange(248)[None]}
    if wrap:
        weights = {"epoch": 1, "model": {f"module.{k}": v for k, v in weights.items()}, "optimizer": {"state": {}}}
    torch.save(weights, tmp_path / "goal.pth")
    command = ["convert", str(tmp_path / "goal.pth"), str(tmp_path / "out"), "--tokenizer", str(source)]
    with pytest.raises(SystemExit) as end:
        main([*command, "--heads", "2,2", "--json", str(tmp_path / "done.json")])
    assert end.value.code == 0
    done = json.loads((tmp_path / "done.json").read_text())
    assert (done["layout"], done["text_positions"]) == ("transformers CLIP (as GOAL saves it)", 248)
    pixels_BCHW = torch.randn(2, 3, 32, 32)
    processor = CLIPProcessor.from_pretrained(tmp_path / "out", backend="pil")
    ids = processor.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert ids.input_ids.shape[1] > 77
    with torch.no_grad():
        new, old = (
            m.eval()(pixel_values=pixels_BCHW, **ids) for m in (CLIPModel.from_pretrained(tmp_path / "out"), clip)
        )
    torch.testing.assert_close(new.image_embeds, old.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(new.text_embeds, old.text_embeds, atol=1e-5, rtol=0)
    assert evaluated(tmp_path, scenes)["text_tokens"] == 248


def test_without_heads_they_are_64_wide(tmp_path, small_clip_folder):
    small = Small(image=(1, 128, 64), text=(1, 64, 64))
    torch.save(state_dict(VOCABULARY, small), tmp_path / "ViT.pt")
    done = convert(tmp_path / "ViT.pt", tmp_path / "out", tokenizer=str(small_clip_folder))
    assert (done.settings.image_heads, done.settings.text_heads) == (2, 1)


def test_a_torchscript_archive_is_refused_with_a_line_that_helps(tmp_path, small_clip_folder):
    class Empty(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    tree = Empty()
    for key, value in state_dict(VOCABULARY).items():
        *above, last = key.split(".")
        place = tree
        for name in above:
            if not hasattr(place, name):
                place.add_module(name, Empty())
            place = getattr(place, name)
        place.register_parameter(last, torch.nn.Parameter(value))
    archive = tmp_path / "ViT B.pt"
    torch.jit.script(tree).save(str(archive))
    with pytest.raises(ModelError, match="TorchScript archive") as refused:
        convert(archive, tmp_path / "out", tokenizer=str(small_clip_folder))
    line = str(refused.value).split('python -c "')[1].removesuffix('"')
    subprocess.run([sys.executable, "-c", line], check=True)
    done = convert(
        tmp_path / "ViT B-weights.pt", tmp_path / "out", tokenizer=str(small_clip_folder), wishes=Wishes(heads=HEADS)
    )
    assert done.layout == "OpenAI CLIP"


def test_a_folder_with_a_tokenizer_alone_will_do(tmp_path):
    small_tokenizer().save_pretrained(tmp_path / "words")
    torch.save(state_dict(VOCABULARY), tmp_path / "ViT.pt")
    convert(tmp_path / "ViT.pt", tmp_path / "out", tokenizer=str(tmp_path / "words"), wishes=Wishes(heads=HEADS))
    assert len(DualEncoder.load(tmp_path / "out").tokenizer) == VOCABULARY
