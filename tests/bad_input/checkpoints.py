"""Bad input of `convert` and `blend`."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.bad_input.cases import REFUSED, Make, _Evil, case, good, write
from tests.models.checkpoints.reference import state_dict

CONVERT = ["convert", "checkpoint.pt", "out", "--tokenizer", "MODEL", "--heads", "3,2"]
BLEND = ["blend", "MODEL", "tuned", "out", "--alpha", "0.5"]
Weights = dict[str, Any]


def _weights(spoil: Callable[[Weights], object]) -> Make:
    """A checkpoint in OpenAI's layout, spoilt."""

    def make(folder: Path) -> list[str]:
        weights = state_dict(600)
        torch.save(spoil(weights) or weights, folder / "checkpoint.pt")
        return CONVERT

    return make


def _bytes(content: bytes, name: str = "checkpoint.pt") -> Make:
    def make(folder: Path) -> list[str]:
        write(folder / name, content)
        return [name if word == "checkpoint.pt" else word for word in CONVERT]

    return make


def _torchscript(folder: Path) -> list[str]:
    with zipfile.ZipFile(folder / "checkpoint.pt", "w") as archive:
        for name in ("clip/constants.pkl", "clip/code/__torch__.py", "clip/data.pkl", "clip/version"):
            archive.writestr(name, "1")
    return CONVERT


def _cut(folder: Path) -> list[str]:
    torch.save(state_dict(600), folder / "checkpoint.pt")
    os.truncate(folder / "checkpoint.pt", 50_000)
    return CONVERT


for name, make, says in (
    ("no such file", lambda folder: CONVERT, "there is no such checkpoint file"),
    ("an empty file", _bytes(b""), "not a whole checkpoint"),
    ("a text", _bytes(b"hello"), "not a whole checkpoint"),
    ("cut off", _cut, "not a whole checkpoint"),
    ("safetensors that are none", _bytes(b"x" * 99, "a.safetensors"), "not a whole safetensors file"),
    ("a TorchScript archive, as OpenAI's downloads", _torchscript, "a TorchScript archive, which is code"),
    ("pickled code", _weights(lambda w: {"state_dict": w, "args": _Evil()}), "which may run code"),
    ("no state dict in it", _weights(lambda w: {"epoch": 3}), "no state dict in it; it has: epoch"),
    (
        "a weight missing",
        _weights(lambda w: {key: value for key, value in w.items() if key != "ln_final.bias"}),
        "missing ln_final.bias",
    ),
    ("a weight too many", _weights(lambda w: w.update(extra=torch.ones(1))), "unknown extra"),
    (
        "a weight of another shape",
        _weights(lambda w: w.update({"visual.proj": torch.ones(20, 48)})),
        "visual.proj is 20 x 48 where 48 x 20 belongs",
    ),
    (
        "a weight that is not a number",
        _weights(lambda w: w.update({"visual.proj": torch.full((48, 20), torch.nan)})),
        "not finite",
    ),
    ("a SigLIP", _weights(lambda w: w.update(logit_bias=torch.ones(1))), "a SigLIP"),
    ("a CLIP with a ResNet", _weights(lambda w: {"visual.layer1.0.conv1.weight": torch.ones(1)}), "a ResNet"),
    ("another vocabulary than the tokenizer's", _weights(lambda w: None), "tokens, the checkpoint 600"),
):
    case("checkpoint", name, REFUSED, says)(make)


def _convert(*more: str, config: object = None) -> Make:
    def make(folder: Path) -> list[str]:
        _weights(lambda weights: None)(folder)
        write(folder / "config.json", json.dumps(config))
        return [*CONVERT[:3], "--tokenizer", "MODEL", *more]

    return make


for name, make, says in (
    ("heads that are no numbers", _convert("--heads", "many"), "'many' is not IMAGE or IMAGE,TEXT"),
    ("heads that do not divide the width", _convert("--heads", "7"), "which 7 heads do not divide"),
    ("no heads for an unusual width", _convert(), "which 0 heads do not divide"),
    ("a deviation of zero", _convert("--heads", "3,2", "--std", "1", "0", "1"), "cannot be normalised"),
    ("a model config of another kind", _convert("--model-config", "config.json"), "not an open_clip model config"),
    (
        "a model config of another checkpoint",
        _convert("--model-config", "config.json", config={"embed_dim": 9, "vision_cfg": {}, "text_cfg": {}}),
        "embed_dim is 9, but the weights say 20",
    ),
):
    case("checkpoint", name, REFUSED, says)(make)


@case("checkpoint", "an output folder with other things in it", REFUSED, "the folder is not empty")
def _(folder: Path) -> list[str]:
    write(folder / "out" / "photo.jpg", "precious")
    return _weights(lambda weights: None)(folder)


def _blend(spoil: Callable[[Path], object] = lambda tuned: None, command: list[str] = BLEND) -> Make:
    def make(folder: Path) -> list[str]:
        good(folder)
        shutil.copytree(os.environ["SMALL_CLIP"], folder / "tuned")
        spoil(folder / "tuned")
        return command

    return make


def _heads(tuned: Path) -> None:
    config = json.loads((tuned / "config.json").read_text())
    config["vision_config"]["num_attention_heads"] = 4
    (tuned / "config.json").write_text(json.dumps(config))


CURVE = [*BLEND[:4], "--curve", "data"]
for name, make, says in (
    ("models that differ in their heads", _blend(_heads), "vision_config.num_attention_heads is 2 and 4"),
    ("models of other shapes", _blend(command=["blend", "tiny", "tuned", "out", "--alpha", "0.5"]), "other shapes"),
    ("an alpha out of range", _blend(command=[*BLEND[:4], "--alpha", "1.5"]), "alpha 1.5 is out of range"),
    ("neither alpha nor curve", _blend(command=BLEND[:4]), "neither a share nor data to measure on"),
    ("alphas that are no numbers", _blend(command=[*CURVE, "--alphas", "0,half"]), "'0,half' are not numbers"),
    ("alphas out of range", _blend(command=[*CURVE, "--alphas", "0,2"]), "out of range"),
    ("no such captions", _blend(command=[*BLEND[:4], "--curve", "nowhere"]), "no such file or folder"),
    ("no such short captions", _blend(command=[*CURVE, "--short", "nowhere"]), "no such file or folder"),
    ("a folder with a model in it", _blend(command=["blend", "MODEL", "tuned", "tuned", "--alpha", "1"]), "not empty"),
    (
        "an image that is broken",
        _blend(lambda tuned: (tuned.parent / "data" / "1.png").write_bytes(b"x"), CURVE),
        "not an image",
    ),
):
    case("blend", name, REFUSED, says)(make)
