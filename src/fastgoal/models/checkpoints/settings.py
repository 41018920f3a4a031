"""What the weights of a CLIP do not say: attention heads, activation function, how images are normalised.

From flags, else from an open_clip JSON (a model config, or an `open_clip_config.json` with `model_cfg` and
`preprocess_cfg`), else by default: heads of 64, but of the width that open_clip's own configs have for the image towers
of ViT-H, ViT-g, ViT-bigG and ViT-e; the layout's usual activation; OpenAI's mean and deviation.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgoal.errors import ConfigError, ModelError
from fastgoal.models.checkpoints.layouts import GELU, QUICK_GELU, Layout
from fastgoal.models.checkpoints.table import Sizes

HEAD_WIDTH = 64
WIDE_HEADS = {1280: 80, 1408: 88, 1664: 104, 1792: 112}
"""Widths of image towers whose heads are not 64 wide, in open_clip's configs (ViT-H, g, bigG, e)."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BICUBIC = 3
RESAMPLE = {"bilinear": 2, "bicubic": BICUBIC}
"""open_clip's names of Pillow's filters."""
Triple = tuple[float, float, float]

_SIZES = {
    "embed_dim": lambda sizes: sizes.dim,
    "vision_cfg.layers": lambda sizes: sizes.image.layers,
    "vision_cfg.width": lambda sizes: sizes.image.width,
    "vision_cfg.patch_size": lambda sizes: sizes.patch,
    "vision_cfg.image_size": lambda sizes: sizes.pixels,
    "text_cfg.layers": lambda sizes: sizes.text.layers,
    "text_cfg.width": lambda sizes: sizes.text.width,
    "text_cfg.context_length": lambda sizes: sizes.positions,
    "text_cfg.vocab_size": lambda sizes: sizes.vocabulary,
}
"""Fields of an open_clip config that the weights say as well."""
_PLAIN = {
    "quick_gelu", "custom_text", "vision_cfg.head_width", "vision_cfg.mlp_ratio", "vision_cfg.patch_dropout",
    "text_cfg.heads", "text_cfg.hf_tokenizer_name", "text_cfg.mlp_ratio",
}  # fmt: skip
"""Fields that are used, or that change nothing in a plain CLIP once it is trained."""
_USUAL = {"vision_cfg.pool_type": "tok", "text_cfg.pool_type": "argmax"}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the caller says of a checkpoint; None takes the config's, else the default.

    heads: attention heads of the image tower, and of the text tower where it is given too.
    model_config: an open_clip JSON. mean, std: of red, green and blue, in 0..1.
    """

    activation: str | None = None
    heads: tuple[int, ...] | None = None
    model_config: Path | None = None
    mean: Triple | None = None
    std: Triple | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a model folder says besides its weights. from_where: for activation, heads and images, who said it."""

    activation: str
    image_heads: int
    text_heads: int
    mean: Triple
    std: Triple
    resample: int
    squash: bool
    from_where: Mapping[str, str]


def settle(wishes: Wishes, sizes: Sizes, layout: Layout) -> Settings:
    """Flags before config before defaults.

    Raises:
        ConfigError: heads that do not divide a tower's width, or a mean or deviation that is no number.
        ModelError: a config that cannot be read, says other sizes than the weights, or describes no plain CLIP.
    """
    config = _read_config(wishes.model_config, sizes) if wishes.model_config else None
    activation, says_activation = _activation(wishes, config, layout)
    (image_heads, text_heads), says_heads = _heads(wishes, config, sizes)
    images = _images(config or {}, wishes.model_config)
    flagged = wishes.mean is not None or wishes.std is not None
    mean, std = wishes.mean or images.get("mean", MEAN), wishes.std or images.get("std", STD)
    if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in std):
        what = f"images cannot be normalised with mean {mean} and deviation {std}"
        raise ConfigError(what, where="--mean and --std", mend="Give shares of 255, the deviations above 0.")
    return Settings(
        activation=activation,
        image_heads=image_heads,
        text_heads=text_heads,
        mean=mean,
        std=std,
        resample=images.get("resample", BICUBIC),
        squash=images.get("squash", False),
        from_where={
            "activation": says_activation,
            "heads": says_heads,
            "images": "given" if flagged else "the config's" if images else "OpenAI's",
        },
    )


def _activation(wishes: Wishes, config: Mapping[str, Any] | None, layout: Layout) -> tuple[str, str]:
    if wishes.activation is not None:
        return wishes.activation, "given"
    if config is not None:
        return QUICK_GELU if config["model"].get("quick_gelu") else GELU, "the config's"
    return layout.activation, "assumed: no state dict says it"


def _heads(wishes: Wishes, config: Mapping[str, Any] | None, sizes: Sizes) -> tuple[tuple[int, int], str]:
    """Heads of both towers: those asked for, the config's, or as many as heads of the usual width make."""
    widths = sizes.image.width, sizes.text.width
    usual = widths[0] // WIDE_HEADS.get(widths[0], HEAD_WIDTH), widths[1] // HEAD_WIDTH
    if config is not None:
        vision, text = config["model"]["vision_cfg"], config["model"]["text_cfg"]
        usual = widths[0] // vision.get("head_width", HEAD_WIDTH), text.get("heads", 8)
    asked = wishes.heads or ()
    heads = asked[0] if asked else usual[0], asked[1] if len(asked) > 1 else usual[1]
    for name, width, count in zip(("image", "text"), widths, heads, strict=True):
        if count < 1 or width % count:
            what = f"the {name} tower is {width} wide, which {count} heads do not divide"
            raise ConfigError(what, where="--heads", mend="Give --heads IMAGE,TEXT as the model was trained.")
    return heads, "given" if asked else "the config's" if config is not None else "assumed from the widths"


def _images(config: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """The preprocessing that an `open_clip_config.json` says."""
    said: dict[str, Any] = {}
    try:
        own = config.get("preprocess", {})
        for name in {"mean", "std"} & set(own):
            red, green, blue = (float(value) for value in own[name])
            said[name] = (red, green, blue)
        said |= {"resample": RESAMPLE[own["interpolation"]]} if "interpolation" in own else {}
        said |= {"squash": {"squash": True, "shortest": False}[own["resize_mode"]]} if "resize_mode" in own else {}
    except (KeyError, TypeError, ValueError) as error:
        mend = "Use mean and std of three numbers, bicubic or bilinear, shortest or squash."
        raise ModelError(f"preprocess_cfg cannot be followed ({error})", where=path, mend=mend) from None
    return said


def _read_config(path: Path, sizes: Sizes) -> dict[str, Any]:
    """An open_clip JSON, checked against the weights: `model` with both towers' fields, and `preprocess`."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        model = whole.get("model_cfg", whole)
        fields = {key: value for key, value in model.items() if key not in ("vision_cfg", "text_cfg")}
        for part in ("vision_cfg", "text_cfg"):
            fields |= {f"{part}.{key}": value for key, value in model[part].items()}
        preprocess = dict(whole.get("preprocess_cfg", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        mend = "Give a JSON of open_clip with vision_cfg and text_cfg, or leave it out."
        raise ModelError(f"not an open_clip model config ({error})", where=path, mend=mend) from None
    for name, value in fields.items():
        _check_field(name, value, sizes, path)
    return {"model": model, "preprocess": preprocess}


def _check_field(name: str, value: Any, sizes: Sizes, path: Path) -> None:
    if name in _SIZES:
        if value != _SIZES[name](sizes):
            what = f"{name} is {value}, but the weights say {_SIZES[name](sizes)}"
            raise ModelError(what, where=path, mend="Use the config of this checkpoint.")
    elif name not in _PLAIN and value and value != _USUAL.get(name):
        what = f"{name} is {json.dumps(value)}: not a plain CLIP"
        raise ModelError(what, where=path, mend="Only plain ViT CLIPs can be converted.")
    elif name in ("vision_cfg.head_width", "text_cfg.heads") and (not isinstance(value, int) or value < 1):
        raise ModelError(f"{name} is {json.dumps(value)}, not a count", where=path, mend="Use open_clip's own config.")
