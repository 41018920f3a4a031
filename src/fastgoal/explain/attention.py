"""What the image's embedding looks at: the attention of the class token in the last layer of the image tower.

The weights are made again from what the last layer was given (its queries and keys, in float32), so that a model keeps
its fused attention, which hands none out, and nothing is loaded a second time. GOAL and FAST-GOAL show these maps
before and after fine-tuning.

Shapes: B images, C channels, H = W = side of the model's input, T tokens (the class token, then P patches), K heads, A
channels of a head.
"""

from typing import Any

import torch

from fastgoal.embed import inference
from fastgoal.models.dual_encoder import DualEncoder


def class_attention(encoder: DualEncoder, pixels_BCHW: torch.Tensor) -> torch.Tensor | None:
    """How much the class token attends to each patch, mean over heads: float32 B x P, a row sums to 1.

    The share that the class token gives to itself is left out. None for a family without a class token.

    Args:
        pixels_BCHW: normalised, on the model's device.
    """
    if not encoder.traits.projects_parts:  # SigLIP pools by a probe of its own, and has no class token
        return None
    layer = encoder.model.vision_model.encoder.layers[-1].self_attn
    given: list[torch.Tensor] = []

    def keep(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        given.append(named["hidden_states"] if "hidden_states" in named else positional[0])

    hook = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with inference(encoder):
            encoder.encode_images(pixels_BCHW)
            weights_BKT = _of_class_token(layer, given[0])
    finally:
        hook.remove()
    patches_BP = weights_BKT.mean(dim=1)[:, 1:]
    return patches_BP / patches_BP.sum(dim=1, keepdim=True)


def _of_class_token(layer: Any, hidden_BTW: torch.Tensor) -> torch.Tensor:
    """Softmax of the class token's query with all keys, B x K x T."""
    batch, tokens, width = hidden_BTW.shape
    heads = layer.num_heads
    query_BKA = layer.q_proj(hidden_BTW[:, 0]).float().view(batch, heads, width // heads)
    key_BKTA = layer.k_proj(hidden_BTW).float().view(batch, tokens, heads, width // heads).transpose(1, 2)
    weights_BKT: torch.Tensor = (torch.einsum("bka,bkta->bkt", query_BKA, key_BKTA) * layer.scale).softmax(dim=-1)
    return weights_BKT
