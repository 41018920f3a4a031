"""SigLIP (arXiv 2303.15343) and SigLIP 2 of a fixed resolution (arXiv 2502.14786), which share one architecture.

What is different from CLIP, and easy to get wrong:
- A text is read at its *last position*, which is padding unless the text fills the limit, and attention runs both ways:
  the embedding depends on the padding. Texts are therefore always padded to the limit (64 in the released weights), and
  there is no attention mask, as in pre-training.
- The image embedding comes from an attention pooling head with no projection behind it, and the text head reads one
  position only. Nothing takes a pooled patch or token into the joint space, so there is no token similarity loss and no
  localisation.
- The loss is a sigmoid for each pair, with a learned bias beside the scale, and the scale has no bound (above 100 in
  released weights).
"""

from typing import Any

import torch
from transformers import SiglipModel, SiglipProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from fastgoal.errors import ModelError
from fastgoal.geometry import ImageFit
from fastgoal.models.families.clip import check_size, config_facts, unit
from fastgoal.models.families.fits import fit_of
from fastgoal.models.families.traits import Traits

MODEL_TYPE = "siglip"
TRAITS = Traits(
    title="SigLIP",
    projects_parts=False,
    stretches=False,
    pads_to_limit=True,
    loss="sigmoid",
    max_logit_scale=None,
)
Model: Any = SiglipModel
Processor: Any = SiglipProcessor
ImageProcessor: Any = SiglipImageProcessorPil


def prepare(model: Any, tokenizer: Any, where: object) -> None:
    """Refuse a model without its pooling head and a tokenizer that is too large or cannot pad.

    The tokenizer is told to give no attention mask: the model was trained without, and stock transformers would mask
    the very position that a text is read at.
    """
    check_size(tokenizer, model, where)
    if not getattr(model.config.vision_config, "vision_use_head", True):
        what = "its image tower has no pooling head (vision_use_head is false)"
        raise ModelError(what, where=where, mend="Use a complete SigLIP checkpoint")
    if tokenizer.pad_token_id is None:
        raise ModelError("its tokenizer has no padding token", where=where, mend="Use the model's own tokenizer")
    tokenizer.model_input_names = ["input_ids"]


def encode_images(model: SiglipModel, pixels_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised embedding_BD from the attention pooling head, and patches_BPW behind the post layer norm."""
    output = model.vision_model(pixel_values=pixels_BCHW)
    return unit(output.pooler_output), output.last_hidden_state


def image_attention(model: SiglipModel, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """How much the probe of the pooling head attends to each patch, mean over heads, B x P."""
    weights: list[torch.Tensor] = []
    pool = model.vision_model.head.attention
    hook = pool.register_forward_hook(lambda module, given, made: weights.append(made[1]))  # output, weights
    try:
        model.vision_model(pixel_values=pixels_BCHW)
    finally:
        hook.remove()
    return weights[0][:, 0].float()


def encode_texts(model: SiglipModel, ids_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised embedding_BD, read at the last position, and tokens_BTW behind the final layer norm.

    Raises:
        ModelError: texts that are not padded to the limit.
    """
    limit = model.text_model.config.max_position_embeddings
    if ids_BT.shape[1] != limit:
        what = f"texts of {ids_BT.shape[1]} tokens, but SigLIP reads a text at position {limit}"
        raise ModelError(what, mend="Tokenise them with the model's own `tokenize`")
    output = model.text_model(input_ids=ids_BT)
    return unit(output.pooler_output), output.last_hidden_state


def project_patches(model: SiglipModel, pooled_BW: torch.Tensor) -> torch.Tensor:
    """Refused: SigLIP has no such projection."""
    raise _no_projection("patches")


def project_tokens(model: SiglipModel, pooled_BW: torch.Tensor) -> torch.Tensor:
    """Refused: SigLIP has no such projection."""
    raise _no_projection("tokens")


def dim(model: SiglipModel) -> int:
    """Dimensions D of the joint space."""
    return int(model.config.text_config.projection_size)


def architecture(model: SiglipModel) -> list[list[object]]:
    """What the shapes of the weights do not say, in words that no version of transformers changes."""
    return config_facts(model, "model_type", "hidden_act", "layer_norm_eps", "num_attention_heads", "patch_size")


def image_fit(processor: Any, model: SiglipModel, where: object) -> ImageFit:
    """The processor's settings as an `ImageFit`: both sides squashed to the model's input."""
    return fit_of(processor, model.config.vision_config.image_size, where)


def _no_projection(parts: str) -> ModelError:
    what = f"SigLIP has no projection that takes pooled {parts} into the joint space"
    return ModelError(what, mend="Use a model of the CLIP family for the token similarity loss and for localisation")
