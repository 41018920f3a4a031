"""Files that are no checkpoint of a plain CLIP: what is said, and that no code in them runs."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import small_tokenizer
from tests.models.checkpoints.reference import state_dict
from transformers import BertConfig, BertModel, SiglipConfig, SiglipModel

from fastgoal.errors import ModelError
from fastgoal.models.checkpoints import Wishes, convert
from fastgoal.models.checkpoints.table import SHOWN

VOCABULARY = len(small_tokenizer())


@pytest.fixture
def refused(tmp_path, small_clip_folder):
    def convert_and_read(content, name="checkpoint.pt", **options):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(ModelError) as error:
            convert(path, tmp_path / "out", tokenizer=str(small_clip_folder), wishes=Wishes(heads=(3, 2)))
        assert error.value.mend
        assert not (tmp_path / "out").exists()
        return str(error.value)

    return convert_and_read


def test_every_key_at_fault_is_named_with_what_belongs_there(refused):
    weights = state_dict(VOCABULARY)
    del weights["visual.ln_post.bias"]
    weights["extra.weight"] = torch.ones(1)
    weights["transformer.resblocks.1.attn.in_proj_weight"] = torch.ones(95, 32)
    weights["visual.proj"] = torch.ones(20, 48)
    weights["ln_final.weight"][3] = float("nan")
    weights["ln_final.bias"] = weights["ln_final.bias"].to(torch.int8)
    said = refused(weights)
    for part in (
        "missing visual.ln_post.bias",
        "unknown extra.weight",
        "transformer.resblocks.1.attn.in_proj_weight is 95 x 32 where 96 x 32 belongs",
        "visual.proj is 20 x 48 where 48 x 20 belongs",
        "not finite numbers in ln_final.weight, ln_final.bias",
    ):
        assert part in said


def test_many_keys_are_named_up_to_a_limit(refused):
    weights = {key: value for key, value in state_dict(VOCABULARY).items() if "resblocks" not in key or ".c_fc" in key}
    said = refused(weights)
    missing = sum("resblocks" in key and ".c_fc" not in key for key in state_dict(VOCABULARY))
    assert said.count("resblocks") == SHOWN
    assert f"and {missing - SHOWN} more" in said


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("visual.positional_embedding", torch.ones(9, 48), "9 rows, which are not one and a square grid"),
        ("visual.positional_embedding", torch.ones(0, 48), "0 rows"),
        ("visual.conv1.weight", torch.ones(48, 192), "visual.conv1.weight has the shape 48 x 192"),
        ("text_projection", None, "text_projection is missing"),
        ("positional_embedding_res", torch.ones(9, 32), "positional_embedding_res is 9 x 32 where 77 x 32 belongs"),
        ("visual.transformer.resblocks.7.ln_1.bias", torch.ones(48), "missing visual.transformer.resblocks.2"),
    ],
)
def test_sizes_that_contradict_each_other(refused, key, value, says):
    weights = state_dict(VOCABULARY) | {key: value}
    assert says in refused({name: weight for name, weight in weights.items() if weight is not None})


def bert():
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return BertModel(BertConfig(vocab_size=50, **tiny)).state_dict()


def siglip():
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = SiglipConfig(
        text_config={**tiny, "vocab_size": 50}, vision_config={**tiny, "image_size": 16, "patch_size": 8}
    )
    return SiglipModel(config).state_dict()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (siglip, "a SigLIP"),
        (bert, "a text encoder of BERT's kind"),
        (lambda: {"visual.layer1.0.conv1.weight": torch.ones(1), "token_embedding.weight": torch.ones(1)}, "a ResNet"),
        (lambda: {"visual.trunk.patch_embed.proj.weight": torch.ones(1)}, "an image tower of timm"),
        (lambda: {"text_decoder.ln.weight": torch.ones(1)}, "a CoCa"),
        (lambda: {"visual.conv1.weight": torch.ones(1)}, "an image tower only"),
        (lambda: {"text_model.final_layer_norm.bias": torch.ones(1)}, "a text tower only"),
        (lambda: {"layers.0.weight": torch.ones(1)}, "not those of a CLIP (layers.0.weight"),
        (lambda: {"base_model.q_proj.lora_A.weight": torch.ones(1)}, "a LoRA adapter"),
        (lambda: {"epoch": 3, "lr": 0.1}, "no state dict in it; it has: epoch, lr"),
        (lambda: [torch.ones(1)], "no state dict in it, but a list"),
        (dict, "it has: nothing"),
        (lambda: {**state_dict(VOCABULARY), "note": "hello"}, "'note' in its state dict is a str"),
        (lambda: state_dict(VOCABULARY + 5), "the tokenizer has"),
    ],
)
def test_what_is_not_a_plain_clip(refused, make, says):
    assert says in refused(make())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_a_truncated_file(refused, tmp_path, zipped, kept):
    torch.save(state_dict(VOCABULARY), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "whole.pt").read_bytes()
    assert "not a whole checkpoint" in refused(content[: int(len(content) * kept)])


def test_a_truncated_safetensors_file_and_one_that_is_none(refused, tmp_path):
    save_file(state_dict(VOCABULARY), tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    for half in (content[: len(content) // 2], b"", b"x" * 100):
        assert "not a whole safetensors file" in refused(half, "half.safetensors")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("raw", [True, False])
def test_pickled_code_is_never_run(refused, tmp_path, monkeypatch, raw):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(Evil()) if raw else {"state_dict": state_dict(VOCABULARY), "args": Evil()}
    assert "pickled Python objects" in refused(content)
    assert not (tmp_path / "pwned").exists()


def test_a_text_file_an_empty_one_a_folder_and_none(refused, tmp_path):
    for content in (b"", b"hello", b"\x80"):
        assert "not a whole checkpoint" in refused(content)
    for path, says in ((tmp_path, "this is a folder"), (tmp_path / "gone.pt", "no such checkpoint file")):
        with pytest.raises(ModelError, match=says):
            convert(path, tmp_path / "out")


def test_a_tokenizer_that_does_not_fit_or_is_not_there(tmp_path, small_clip_folder):
    torch.save(state_dict(1055), tmp_path / "ViT.pt")
    (tmp_path / "empty").mkdir()
    for name, says in (
        (str(small_clip_folder), "tokens, the checkpoint 1,055"),
        (str(tmp_path / "empty"), "the tokenizer cannot be read"),
        ("./nowhere", "no such model folder"),
    ):
        with pytest.raises(ModelError, match=says):
            convert(tmp_path / "ViT.pt", tmp_path / "out", tokenizer=name, wishes=Wishes(heads=(3, 2)))


def test_an_output_folder_with_things_in_it(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for out, says in (("out", "the folder is not empty"), ("file", "a file has this name")):
        with pytest.raises(ModelError, match=says):
            convert(tmp_path / "ViT.pt", tmp_path / out)
