"""What a pass costs in multiplications, and how many this machine does: the bounds that no code can beat.

A transformer layer of width W with an inner width I costs, per token, 2 (4 W^2 + 2 W I) operations in its matrix
products and 4 T W in its attention over T tokens; a backward pass costs twice the forward one. Norms, activations,
projections and losses are left out: they are a few percent of the operations.
"""

from collections.abc import Sequence
from typing import Any

import torch

from fastgoal.bench.harness import timed
from fastgoal.models.dual_encoder import DualEncoder

BACKWARD = 3
"""A forward and a backward pass together, in forward passes."""
_PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Operations per second in bfloat16 without sparsity, as the makers state them."""


def layers(config: Any, tokens: float) -> float:
    """Operations of a tower's layers for one item of so many tokens, forward."""
    width, inner = config.hidden_size, config.intermediate_size
    per_token = 2 * (4 * width**2 + 2 * width * inner) + 4 * tokens * width
    return float(config.num_hidden_layers * tokens * per_token)


def image(encoder: DualEncoder) -> float:
    """Operations of one image, forward."""
    config, patches = encoder.model.config.vision_config, encoder.grid**2
    embedding = 2 * patches * config.hidden_size * 3 * encoder.patch**2
    return layers(config, patches + 1) + float(embedding)


def text(encoder: DualEncoder, tokens: float) -> float:
    """Operations of one text, forward."""
    return layers(encoder.model.config.text_config, tokens)


def step_ratio(encoder: DualEncoder, captions: Sequence[int], sentences: Sequence[int]) -> float:
    """The operations of the reference's step over those of ours, for texts of so many tokens (cut at the limit).

    Ours: each whole image and crop, caption and sentence once, unpadded. The reference: each twice, texts padded to the
    limit.
    """
    limit = encoder.text_limit
    theirs = 2 * (2 * image(encoder) + 2 * text(encoder, limit))
    return theirs / ours_per_sample(encoder, captions, sentences)


def ours_per_sample(encoder: DualEncoder, captions: Sequence[int], sentences: Sequence[int]) -> float:
    """Operations of our step per sample, forward, without padding."""
    texts = [text(encoder, min(tokens, encoder.text_limit)) for tokens in (*captions, *sentences)]
    return 2 * image(encoder) + sum(texts) / len(captions)


def peak(device: torch.device) -> tuple[float, str]:
    """Operations per second that the device can do, and how that is known: stated by its maker, or measured by a
    product of large matrices in float32."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        stated = next((rate for part, rate in _PEAKS.items() if part in name), None)
        if stated is not None:
            return stated, f"{stated / 1e12:.0f} TFLOP/s stated for bf16"
    rate = product_rate(device)
    return rate, f"{rate / 1e9:,.0f} GFLOP/s measured"


def product_rate(device: torch.device | str = "cpu") -> float:
    """Operations per second of large matrix products in float32: the best of some, which others disturbed least."""
    side = 8192 if torch.device(device).type == "cuda" else 2048
    a, out = torch.randn(side, side, device=device), torch.empty(side, side, device=device)
    return 2 * side**3 / min(timed(lambda: torch.mm(a, a, out=out), device) for _ in range(7))
