"""What tells one model from another: a digest over its weights and over everything that their shapes do not say."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch


def fingerprint(weights: Mapping[str, Any], facts: Any) -> str:
    """16 hex digits of SHA-256 over the facts (plain JSON values) and all weights, as float32. Reads all weights."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for key, weight in sorted(weights.items()):
        digest.update(f"{key}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()[:16]
