"""Everything that is particular to the CLIP family: classes, files, norms, pooling, padding.

Where the norms are, which is easy to get wrong: the text tower's `last_hidden_state` is after its final layer norm, the
vision tower's is before its post layer norm. Here both towers hand out what comes out of the last layer, and each
projection norms once. The text tower is causal and padding is on the right, so no real token sees any padding and no
padding mask is needed.

Another family is another module with these same names.

Shapes: B items, C channels, H x W pixels, T tokens, P patches, W tower width, D joint dimensions.
"""

from typing import Any

import torch
from torch import nn
from transformers import CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.errors import ModelError
from fastgoal.geometry import ImageFit

MODEL_TYPE = "clip"
Model = CLIPModel
Processor = CLIPProcessor
ImageProcessor = CLIPImageProcessorPil  # named, because the Auto class and the plain one need torchvision
LEGACY_END_ID = 2  # transformers then pools at the largest id, which is the end token only if no id is above it


def encode_images(clip: CLIPModel, pixels_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised embedding_BD and patches_BPW, row by row, as the last layer leaves them."""
    output = clip.vision_model(pixel_values=pixels_BCHW)
    return _unit(clip.visual_projection(output.pooler_output)), output.last_hidden_state[:, 1:]


def encode_texts(clip: CLIPModel, ids_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised embedding_BD, read at the first end token, and tokens_BTW as the last layer leaves them.

    The tower's parts are called one by one because its own `forward` gives the last layer's output before the norm only
    along with every other layer's.
    """
    text = clip.text_model
    embedded_BTW = text.embeddings(input_ids=ids_BT)
    mask = _causal_mask(embedded_BTW) if text.config._attn_implementation == "eager" else None
    tokens_BTW = text.encoder(inputs_embeds=embedded_BTW, attention_mask=mask, is_causal=True).last_hidden_state
    end_B = (ids_BT == end_id(clip)).int().argmax(dim=-1)
    pooled_BW = tokens_BTW[torch.arange(len(ids_BT), device=ids_BT.device), end_B]
    return project_tokens(clip, pooled_BW), tokens_BTW


def project_patches(clip: CLIPModel, pooled_BW: torch.Tensor) -> torch.Tensor:
    """Pooled patches in the joint space, normalised: post layer norm, then visual projection."""
    return _unit(clip.visual_projection(clip.vision_model.post_layernorm(pooled_BW)))


def project_tokens(clip: CLIPModel, pooled_BW: torch.Tensor) -> torch.Tensor:
    """Pooled tokens in the joint space, normalised: final layer norm, then text projection."""
    return _unit(clip.text_projection(clip.text_model.final_layer_norm(pooled_BW)))


def end_id(clip: CLIPModel) -> int:
    """Id of the end token, at which a text is pooled."""
    return int(clip.text_model.eos_token_id)


def check_vocabulary(clip: CLIPModel, tokenizer: Any, where: object) -> None:
    """Refuse a tokenizer and a config that disagree on the end token: such a model silently reads a part of a caption.

    A config in the legacy way (end = 2) with an end token that is the highest id, as OpenAI's is, is mended in
    place: it pools at the same token as before, now by its name.
    """
    config, end, size = clip.config.text_config, tokenizer.eos_token_id, len(tokenizer)
    if size > config.vocab_size:
        raise ModelError(
            f"the tokenizer has {size} tokens, the model only {config.vocab_size}",
            where=where,
            mend="Use the tokenizer that the model was trained with",
        )
    if config.eos_token_id == LEGACY_END_ID and end != size - 1:
        raise ModelError(
            f"texts end with token {end}, but with eos_token_id 2 transformers reads a text at its largest token id",
            where=where,
            mend="Give the end token the highest id of the vocabulary and name it in text_config.eos_token_id",
        )
    if config.eos_token_id not in (end, LEGACY_END_ID):
        raise ModelError(
            f"config.json says that texts end with token {config.eos_token_id}, the tokenizer ends them with {end}",
            where=where,
            mend=f"Set text_config.eos_token_id to {end} in config.json, or use the model's own tokenizer",
        )
    for text_config in (config, clip.text_model.config):
        text_config.eos_token_id = end
    clip.text_model.eos_token_id = end


def architecture(clip: CLIPModel) -> list[list[object]]:
    """What the shapes of the weights do not say, in words that no version of transformers changes."""
    names = ("model_type", "hidden_act", "layer_norm_eps", "num_attention_heads", "eos_token_id", "patch_size")
    return [
        [getattr(config, name, None) for name in names] for config in (clip.text_model.config, clip.vision_model.config)
    ]


def image_fit(processor: CLIPImageProcessorPil, clip: CLIPModel, where: object) -> ImageFit:
    """The processor's settings as an `ImageFit`.

    Raises:
        ModelError: settings that no `ImageFit` can say (no resize, an oblong crop, another scale), or that do not
            give the size of the model's input.
    """
    squash = not processor.size.shortest_edge
    resize = _square(processor.size) if squash else int(processor.size.shortest_edge)
    size = _square(processor.crop_size) if processor.do_center_crop else resize if squash else 0
    scaled = processor.do_resize and processor.do_rescale and abs(processor.rescale_factor * 255 - 1) < 1e-6
    if not scaled or size != clip.config.vision_config.image_size or (resize != size if squash else resize < size):
        raise ModelError(
            f"its image preprocessing does not give squares of {clip.config.vision_config.image_size} pixels",
            where=where,
            mend="Correct size, crop_size and the do_ switches in preprocessor_config.json",
        )
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0, 0, 0), (1, 1, 1))
    return ImageFit(
        mode="squash" if squash else "crop",
        size=size,
        resize=resize,
        resample=int(processor.resample),
        mean=_triple(mean),
        std=_triple(std),
    )


def _square(size: Any) -> int:
    return int(size.height) if size.height and size.height == size.width else 0


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _causal_mask(embedded_BTW: torch.Tensor) -> torch.Tensor:
    length = embedded_BTW.shape[1]
    full = torch.full((length, length), float("-inf"), device=embedded_BTW.device, dtype=embedded_BTW.dtype)
    return full.triu(1)[None, None]


def _unit(vectors_BD: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(vectors_BD.float(), dim=-1)
