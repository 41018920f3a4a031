"""Weight blending: the straight line between a base model and what fine-tuning made of it.

    weights(alpha) = (1 - alpha) * base + alpha * tuned

Fine-tuning on long captions costs some of what the base knew; on the way between the two there often is a model that
keeps nearly all of both, at no cost in inference. The base is first given the tuned model's text limit (a stretched
position table), so that every weight has its counterpart. WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903.
"""

from collections.abc import Mapping
from copy import deepcopy

import torch

from fastgoal.errors import ConfigError, ModelError
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.tokens import tokenizer_facts

_FACTS = ("model_type", "hidden_act", "num_attention_heads", "layer_norm_eps", "patch_size", "image_size")
"""What the shapes of the weights do not say, by the names in both towers' configs."""


def aligned(base: DualEncoder, tuned: DualEncoder) -> DualEncoder:
    """The base, or a copy of it with the tuned model's text limit, once it is known that the two can be blended.

    Raises:
        ModelError: models that differ in more than their weights; says in what.
    """
    if base.text_limit != tuned.text_limit:
        base = deepcopy(base)
        base.set_text_limit(tuned.text_limit)
    differences = _differences(base, tuned)
    if differences:
        what = f"'{base.name}' and '{tuned.name}' cannot be blended: {'; '.join(differences)}"
        raise ModelError(what, mend="Blend a model with the one it was trained from.")
    return base


def blend(base: DualEncoder, tuned: DualEncoder, alpha: float) -> DualEncoder:
    """A new model on the line from `base` (alpha 0) to `tuned` (alpha 1).

    Raises:
        ModelError: models that differ in more than their weights.
        ConfigError: alpha outside of 0..1.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha {alpha:g} is out of range", where="alpha", mend="Choose a number from 0 to 1.")
    base = aligned(base, tuned)
    mixed = deepcopy(tuned)
    mixed.load_state_dict(blend_weights(base.state_dict(), tuned.state_dict(), alpha))
    mixed.name = f"alpha {alpha:g}"
    return mixed


def blend_weights(
    base: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor], alpha: float
) -> dict[str, torch.Tensor]:
    """`(1 - alpha) * base + alpha * tuned` for every weight; exactly the one or the other at the ends."""
    return {key: (1 - alpha) * base[key] + alpha * weight for key, weight in tuned.items()}


def _differences(base: DualEncoder, tuned: DualEncoder) -> list[str]:
    found = _other_shapes(base.state_dict(), tuned.state_dict())
    for tower in ("text_config", "vision_config"):
        ours, theirs = (getattr(encoder.model.config, tower) for encoder in (base, tuned))
        for name in _FACTS:
            first, second = getattr(ours, name, None), getattr(theirs, name, None)
            if first != second:
                found.append(f"{tower}.{name} is {first} and {second}")
    if base.fit != tuned.fit:
        found.append(f"images are fitted by {base.fit} and {tuned.fit}")
    if tokenizer_facts(base.tokenizer) != tokenizer_facts(tuned.tokenizer):
        found.append("their tokenizers are not the same")
    return found


def _other_shapes(base: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor]) -> list[str]:
    """One phrase on the weights that have no counterpart of their shape, with the first of them."""
    keys = [key for key in {**base, **tuned} if _shape(base, key) != _shape(tuned, key)]
    if not keys:
        return []
    first = keys[0]
    shapes = " and ".join(_shape(weights, first) for weights in (base, tuned))
    return [f"{len(keys)} weights have other shapes, the first {first}: {shapes}"]


def _shape(weights: Mapping[str, torch.Tensor], key: str) -> str:
    return " x ".join(map(str, weights[key].shape)) or "a number" if key in weights else "none"
