"""What the regions of a proposer depend on."""

import hashlib
import json
from dataclasses import is_dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig

from fastgoal.models.tokens import tokenizer_facts

_IRRELEVANT = frozenset({"name", "device", "batch", "tally"})
"""Of a proposer: where it came from, where and how fast it runs, and what it has counted."""


_NO_ARCHITECTURE = frozenset({"_name_or_path", "transformers_version", "dtype"})
"""Of a config: where it came from, what wrote it, and how its weights were stored (they are float32 here)."""


def fingerprint(thing: object) -> str:
    """What a proposer's regions depend on, readable: `Type(setting=value, ...)`, with a hash for a model's weights."""
    if isinstance(own := getattr(thing, "fingerprint", None), str):
        return own
    if isinstance(thing, torch.nn.Module):
        digest = hashlib.sha256(json.dumps(_architecture(thing), sort_keys=True, default=str).encode())
        for name, tensor in thing.state_dict().items():
            digest.update(name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return f"{type(thing).__name__}({digest.hexdigest()[:16]})"
    if isinstance(thing, list | tuple):
        return f"[{', '.join(map(fingerprint, thing))}]"
    if hasattr(thing, "backend_tokenizer"):
        digest = hashlib.sha256(json.dumps(tokenizer_facts(thing), sort_keys=True).encode())
        return f"{type(thing).__name__}({digest.hexdigest()[:16]})"
    if hasattr(thing, "to_dict"):  # an image processor of transformers
        return f"{type(thing).__name__}({json.dumps(thing.to_dict(), sort_keys=True, default=str)})"
    if is_dataclass(thing) or not hasattr(thing, "__dict__"):
        return repr(thing)
    kept = {name: value for name, value in vars(thing).items() if name not in _IRRELEVANT}
    return f"{type(thing).__name__}({', '.join(f'{name}={fingerprint(value)}' for name, value in kept.items())})"


def _architecture(model: torch.nn.Module) -> dict[str, Any]:
    """What the weights of a transformers model do not say (heads, activation, names of classes), where not usual."""
    config = getattr(model, "config", None)
    said = config.to_diff_dict() if isinstance(config, PreTrainedConfig) else {}
    return {name: value for name, value in said.items() if name not in _NO_ARCHITECTURE}
