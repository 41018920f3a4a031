"""CLIP and all that is saved as `clip` (OpenAI's, LAION's, DFN's, MetaCLIP 1): classes, norms, pooling, padding.

Where the norms are, which is easy to get wrong: the text tower's `last_hidden_state` is after its final layer norm, the
vision tower's is before its post layer norm. Here both towers hand out what comes out of the last layer, and each
projection norms once. The text tower is causal and padding is on the right, so no real token sees any padding and no
padding mask is needed.

Shapes: B items, C channels, H x W pixels, T tokens, P patches, W tower width, D joint dimensions; K heads, A channels
of a head.
"""

from typing import Any

import torch
from torch import nn
from transformers import CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.errors import ModelError
from fastgoal.geometry import ImageFit
from fastgoal.models.families.fits import fit_of
from fastgoal.models.families.traits import Traits

MODEL_TYPE = "clip"
TRAITS = Traits(
    title="CLIP", projects_parts=True, stretches=True, pads_to_limit=False, loss="softmax", max_logit_scale=100.0
)
Model: Any = CLIPModel
Processor: Any = CLIPProcessor
ImageProcessor: Any = CLIPImageProcessorPil
LEGACY_END_ID = 2  # transformers then pools at the largest id, which is the end token only if no id is above it


def encode_images(model: Any, pixels_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised embedding_BD and patches_BPW, row by row, as the last layer leaves them."""
    output = model.vision_model(pixel_values=pixels_BCHW)
    return unit(model.visual_projection(output.pooler_output)), output.last_hidden_state[:, 1:]


def image_attention(model: Any, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """How much the class token attends to each patch in the last layer, mean over heads, B x P; what it gives to itself
    is left out.

    Made again from what that layer is given, as fused attention hands out no weights; so nothing is loaded or set anew.
    """
    layer = model.vision_model.encoder.layers[-1].self_attn
    given: list[torch.Tensor] = []

    def keep(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        given.append(named["hidden_states"] if "hidden_states" in named else positional[0])

    hook = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        model.vision_model(pixel_values=pixels_BCHW)
    finally:
        hook.remove()
    hidden_BTW = given[0]
    heads = (layer.num_heads, -1)
    query_BKA = layer.q_proj(hidden_BTW[:, 0]).float().unflatten(-1, heads)
    key_BTKA = layer.k_proj(hidden_BTW).float().unflatten(-1, heads)
    sim_BKT: torch.Tensor = torch.einsum("bka,btka->bkt", query_BKA, key_BTKA) * layer.scale
    return sim_BKT.softmax(dim=-1).mean(dim=1)[:, 1:]


def encode_texts(model: Any, ids_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised embedding_BD, read at the first end token, and tokens_BTW as the last layer leaves them.

    The tower's parts are called one by one because its own `forward` gives the last layer's output before the norm only
    along with every other layer's.
    """
    text = model.text_model
    embedded_BTW = text.embeddings(input_ids=ids_BT)
    mask = _causal_mask(embedded_BTW) if text.config._attn_implementation == "eager" else None
    tokens_BTW = text.encoder(inputs_embeds=embedded_BTW, attention_mask=mask, is_causal=True).last_hidden_state
    end_B = (ids_BT == end_id(model)).int().argmax(dim=-1)
    pooled_BW = tokens_BTW[torch.arange(ids_BT.shape[0], device=ids_BT.device), end_B]
    return project_tokens(model, pooled_BW), tokens_BTW


def project_patches(model: Any, pooled_BW: torch.Tensor) -> torch.Tensor:
    """Pooled patches in the joint space, normalised: post layer norm, then visual projection."""
    return unit(model.visual_projection(model.vision_model.post_layernorm(pooled_BW)))


def project_tokens(model: Any, pooled_BW: torch.Tensor) -> torch.Tensor:
    """Pooled tokens in the joint space, normalised: final layer norm, then text projection."""
    return unit(model.text_projection(model.text_model.final_layer_norm(pooled_BW)))


def end_id(model: Any) -> int:
    """Id of the end token, at which a text is pooled."""
    return int(model.text_model.eos_token_id)


def prepare(model: Any, tokenizer: Any, where: object) -> None:
    """Refuse a tokenizer and a config that disagree on the end token: such a model silently reads a part of a caption.

    A config in the legacy way (end = 2) with an end token that is the highest id, as OpenAI's is, is mended in
    place: it pools at the same token as before, now by its name.
    """
    check_size(tokenizer, model, where)
    config, end = model.config.text_config, tokenizer.eos_token_id
    if config.eos_token_id == LEGACY_END_ID and end != len(tokenizer) - 1:
        raise ModelError(
            f"texts end with token {end}, but with eos_token_id 2 transformers reads a text at its largest token id",
            where=where,
            mend="Give the end token the highest id of the vocabulary and name it in text_config.eos_token_id",
        )
    if config.eos_token_id == LEGACY_END_ID:
        config.eos_token_id = end
    name_end(model, tokenizer, where)


def check_size(tokenizer: Any, model: Any, where: object) -> None:
    """Refuse a tokenizer with more tokens than the model has rows for."""
    size, rows = len(tokenizer), model.config.text_config.vocab_size
    if size > rows:
        raise ModelError(
            f"the tokenizer has {size} tokens, the model only {rows}",
            where=where,
            mend="Use the tokenizer that the model was trained with",
        )


def name_end(model: Any, tokenizer: Any, where: object) -> None:
    """Refuse a config that names another end token than the tokenizer's; else name it wherever the model looks."""
    config, end = model.config.text_config, tokenizer.eos_token_id
    if config.eos_token_id != end:
        raise ModelError(
            f"config.json says that texts end with token {config.eos_token_id}, the tokenizer ends them with {end}",
            where=where,
            mend=f"Set text_config.eos_token_id to {end} in config.json, or use the model's own tokenizer",
        )
    model.text_model.config.eos_token_id = end
    model.text_model.eos_token_id = end


def architecture(model: Any) -> list[list[object]]:
    """What the shapes of the weights do not say, in words that no version of transformers changes."""
    return config_facts(
        model, "model_type", "hidden_act", "layer_norm_eps", "num_attention_heads", "eos_token_id", "patch_size"
    )


def config_facts(model: Any, *names: str) -> list[list[object]]:
    """These fields of both towers' configs, the text tower's first."""
    towers = (model.text_model.config, model.vision_model.config)
    return [[getattr(config, name, None) for name in names] for config in towers]


def dim(model: Any) -> int:
    """Dimensions D of the joint space."""
    return int(model.config.projection_dim)


def image_fit(processor: CLIPImageProcessorPil, model: Any, where: object) -> ImageFit:
    """The processor's settings as an `ImageFit`."""
    return fit_of(processor, model.config.vision_config.image_size, where)


def unit(vectors_BD: torch.Tensor) -> torch.Tensor:
    """Rows of length one, in float32."""
    return nn.functional.normalize(vectors_BD.float(), dim=-1)


def _causal_mask(embedded_BTW: torch.Tensor) -> torch.Tensor:
    length = embedded_BTW.shape[1]
    full = torch.full((length, length), float("-inf"), device=embedded_BTW.device, dtype=embedded_BTW.dtype)
    return full.triu(1)[None, None]
