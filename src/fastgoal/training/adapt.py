"""What of a model learns: each tower in full, through low-rank adapters, or not at all.

Adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) sit on every linear layer of a tower's transformer, with alpha twice
the rank; all else of that tower is frozen except for the text positions, because stretching made rows that nobody
trained. They live during training only: what is saved, and what remains in the end, is a plain model with the adapters
merged into its weights. The logit scale always learns.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fastgoal.errors import ConfigError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.config import TrainConfig

TOWERS = {"image_tower": ("vision_model", "visual_projection"), "text_tower": ("text_model", "text_projection")}
"""Top-level modules of each tower, in transformers' names."""
_LAYER = ".layers."
"""In the names of all that belongs to a layer of a tower's transformer, and of nothing else."""
_POSITIONS = "text_model.embeddings.position_embedding"


@contextmanager
def adapted(encoder: DualEncoder, config: TrainConfig) -> Iterator[None]:
    """Inside, only what `config` asks for learns; afterwards the encoder is plain again, adapters merged.

    Raises:
        ConfigError: adapters asked for without peft.
    """
    modes = {part: getattr(config, tower) for tower, parts in TOWERS.items() for part in parts}
    low_rank = [part for part, mode in modes.items() if mode == "lora"]
    try:
        if low_rank:
            _inject(encoder.model, low_rank, config.lora_rank, config.seed)
        for name, parameter in encoder.model.named_parameters():
            mode = modes.get(name.split(".")[0], "full")
            adapter = ".lora_" in name or name.startswith(_POSITIONS)
            parameter.requires_grad_(mode == "full" or (mode == "lora" and adapter))
        yield
    finally:
        _merge(encoder.model)
        encoder.requires_grad_(True)


def plain(encoder: DualEncoder) -> DualEncoder:
    """The encoder as it can be saved: a copy with its adapters merged, or itself where it has none."""
    if not any(".lora_" in name for name, _ in encoder.named_parameters()):
        return encoder
    merged = copy.deepcopy(encoder)
    _merge(merged.model)
    return merged


def _inject(clip: nn.Module, parts: list[str], rank: int, seed: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model  # seconds to import, and an extra
    except ImportError as error:
        mend = "Install it with: pip install 'fastgoal[lora]'"
        raise ConfigError("adapters need the package peft", where="image_tower, text_tower", mend=mend) from error
    targets = "|".join(
        re.escape(name)
        for name, module in clip.named_modules()
        if isinstance(module, nn.Linear) and name.split(".")[0] in parts and _LAYER in name
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), clip)


def _merge(clip: nn.Module) -> None:
    """Put `W + alpha / rank * B A` in the place of every adapted layer."""
    for name, layer in [(name, layer) for name, layer in clip.named_modules() if hasattr(layer, "get_base_layer")]:
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(clip.get_submodule(parent), child, layer.get_base_layer())
    vars(clip).pop("peft_config", None)
