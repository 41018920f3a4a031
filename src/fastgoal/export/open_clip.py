"""open_clip: its key layout and `open_clip_config.json`, from the table that `convert` reads the other way round.

open_clip reads a text at its largest token id and knows two activations and one layer norm, so that not every model is
one of its: what it would compute otherwise than we do is refused by name. The library needs torchvision and is not run
here; what was written is read back through the same doors as anybody's checkpoint instead, and embeds again (tests ask
the library itself where it is installed).

Source: github.com/mlfoundations/open_clip (`CLIPVisionCfg`, `CLIPTextCfg`, `factory.create_model`, `push_to_hf_hub`).
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from fastgoal.errors import ConfigError
from fastgoal.export.parity import Check, compare, id_batches, pixel_batches
from fastgoal.export.readme import open_clip_readme
from fastgoal.files import shown_name, write_file, write_json
from fastgoal.models.checkpoints.convert import convert
from fastgoal.models.checkpoints.file import Checkpoint
from fastgoal.models.checkpoints.layouts import GELU, GOAL, OPEN_CLIP, QUICK_GELU
from fastgoal.models.checkpoints.settings import RESAMPLE, Wishes
from fastgoal.models.checkpoints.table import Sizes, check, entries, measure, restore
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.families import clip
from fastgoal.models.tokens import forget_calls

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
LAYER_NORM_EPS = 1e-5
"""What open_clip's layer norms have, and no config of it can change in a plain CLIP."""
_READ_BACK = "fastgoal, read back"


def write_open_clip(encoder: DualEncoder, folder: Path, metadata: dict[str, Any]) -> list[Check]:
    """Write a folder for `open_clip.create_model_and_transforms("local-dir:FOLDER")`, and check it by reading it back.

    Raises:
        ConfigError: a model that open_clip would compute in another way.
        ModelError: what was written does not give the model's embeddings.
    """
    if reason := next(_differences(encoder), None):
        mend = "Export it as onnx or sentence-transformers."
        raise ConfigError(f"open_clip cannot hold this model: {reason}", where=encoder.name, mend=mend)
    named = Checkpoint(path=Path(encoder.name), weights=encoder.model.state_dict())
    sizes = measure(named, GOAL)
    check(entries(sizes, GOAL), named)
    save_file(restore(entries(sizes, OPEN_CLIP), named.weights), folder / WEIGHTS)
    write_json(folder / CONFIG, {"model_cfg": _model(encoder, sizes), "preprocess_cfg": _preprocess(encoder)})
    forget_calls(encoder.tokenizer)
    encoder.tokenizer.save_pretrained(folder)
    checks = _check(encoder, folder)
    write_file(folder / "README.md", open_clip_readme(encoder, metadata, checks))
    return checks


def _differences(encoder: DualEncoder) -> Iterator[str]:
    """Every reason why open_clip's plain CLIP would not be this model."""
    traits, config, fit = encoder.traits, encoder.model.config, encoder.fit
    if config.model_type != clip.MODEL_TYPE:
        yield f"it is a {traits.title}, and only plain CLIPs have this layout"
        return
    towers = config.text_config, config.vision_config
    acts = {tower.hidden_act for tower in towers}
    if len(acts) > 1 or not acts <= {GELU, QUICK_GELU}:
        yield f"its activation is {' and '.join(sorted(acts))}, open_clip's are {GELU} or {QUICK_GELU} for both towers"
    if {tower.layer_norm_eps for tower in towers} != {LAYER_NORM_EPS}:
        yield f"its layer norms have an epsilon other than {LAYER_NORM_EPS:g}"
    end, rows = encoder.tokenizer.eos_token_id, config.text_config.vocab_size
    if end != rows - 1:
        yield f"texts end with token {end}, but open_clip reads a text at its highest id, of {rows:,} tokens"
    if fit.mode == "crop" and fit.resize != fit.size:
        yield f"its images are resized to {fit.resize} pixels and cut to {fit.size}, and open_clip knows one size"
    if fit.resample not in RESAMPLE.values():
        yield "its images are resized with a filter other than bicubic and bilinear"


def _model(encoder: DualEncoder, sizes: Sizes) -> dict[str, Any]:
    text, image = encoder.model.config.text_config, encoder.model.config.vision_config
    return {
        "embed_dim": sizes.dim,
        "quick_gelu": text.hidden_act == QUICK_GELU,
        "vision_cfg": {
            "image_size": sizes.pixels,
            "patch_size": sizes.patch,
            "layers": sizes.image.layers,
            "width": sizes.image.width,
            "head_width": sizes.image.width // image.num_attention_heads,
            "mlp_ratio": sizes.image.inner / sizes.image.width,
        },
        "text_cfg": {
            "context_length": sizes.positions,
            "vocab_size": sizes.vocabulary,
            "layers": sizes.text.layers,
            "width": sizes.text.width,
            "heads": text.num_attention_heads,
            "mlp_ratio": sizes.text.inner / sizes.text.width,
            "hf_tokenizer_name": shown_name(encoder.name),  # from a local folder the tokenizer in it is taken
        },
    }


def _preprocess(encoder: DualEncoder) -> dict[str, Any]:
    fit = encoder.fit
    return {
        "mean": list(fit.mean),
        "std": list(fit.std),
        "interpolation": next(name for name, number in RESAMPLE.items() if number == fit.resample),
        "resize_mode": "squash" if fit.mode == "squash" else "shortest",
    }


def _check(encoder: DualEncoder, folder: Path) -> list[Check]:
    """What `fastgoal convert` makes of it, and what that embeds."""
    with TemporaryDirectory(dir=folder) as scratch:
        wishes = Wishes(model_config=folder / CONFIG)
        convert(folder / WEIGHTS, Path(scratch) / "again", tokenizer=str(folder), wishes=wishes)
        again = DualEncoder.load(Path(scratch) / "again")
    with torch.no_grad():
        ids = ((encoder.family.encode_texts(encoder.model, ids_BT)[0], ids_BT) for ids_BT in id_batches(encoder))
        pixels = ((encoder.encode_images(batch).embedding_BD, batch) for batch in pixel_batches(encoder))
        return [
            compare("texts", _READ_BACK, lambda: lambda ids_BT: again.family.encode_texts(again.model, ids_BT)[0], ids),
            compare("images", _READ_BACK, lambda: lambda batch: again.encode_images(batch).embedding_BD, pixels),
        ]
