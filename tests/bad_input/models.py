"""Models of architectures that are unknown, that cannot do what is asked, or that can only be measured."""

import json
from pathlib import Path

from tests.bad_input.cases import REFUSED, Make, case, good, write

GROUP = "models"


def config(model_type: str) -> str:
    return json.dumps({"model_type": model_type})


def folder_of(model_type: str) -> Make:
    def make(folder: Path) -> list[str]:
        model = folder / "model"
        for name in ("model.safetensors", "tokenizer.json", "preprocessor_config.json"):
            write(model / name, "{}")
        write(model / "config.json", config(model_type))
        good(folder)
        return ["eval", "model", "data"]

    return make


for _type, _says in (("siglip2", "NaFlex"), ("flava", '"flava", which is not supported')):
    case(GROUP, f"the architecture {_type}", REFUSED, _says)(folder_of(_type))


@case(GROUP, "training a BLIP-2", REFUSED, "evaluated but not trained")
def train_blip2(folder: Path) -> list[str]:
    folder_of("blip-2")(folder)
    return ["match", "data", "--out", "pairs", "--matcher", "model"]


@case(GROUP, "training an open_clip model", REFUSED, "evaluated but not trained")
def train_open_clip(folder: Path) -> list[str]:
    good(folder)
    return ["match", "data", "--out", "pairs", "--matcher", "open_clip:ViT-B-16@openai"]


@case(GROUP, "an open_clip model without weights", REFUSED, "NAME@PRETRAINED")
def open_clip_without_weights(folder: Path) -> list[str]:
    good(folder)
    return ["eval", "open_clip:ViT-B-16", "data"]
