"""MetaCLIP 2 (arXiv 2507.22062): CLIP's towers, trained on captions in hundreds of languages.

The towers are CLIP's layer by layer, so the code is too. The tokenizer is a SentencePiece one of XLM-R's or mT5's kind,
whose end token has a low id (2 in the released weights). transformers reads a text here at the first token with
`text_config.eos_token_id` whatever that is; the largest id, which CLIP's legacy configs mean by 2, plays no part.
"""

from typing import Any

from transformers import CLIPProcessor, MetaClip2Model
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fastgoal.models.families.clip import (
    architecture,
    check_size,
    dim,
    encode_images,
    encode_texts,
    image_attention,
    image_fit,
    name_end,
    project_patches,
    project_tokens,
)
from fastgoal.models.families.traits import Traits

__all__ = [
    "MODEL_TYPE",
    "TRAITS",
    "ImageProcessor",
    "Model",
    "Processor",
    "architecture",
    "dim",
    "encode_images",
    "encode_texts",
    "image_attention",
    "image_fit",
    "prepare",
    "project_patches",
    "project_tokens",
]

MODEL_TYPE = "metaclip_2"
TRAITS = Traits(
    title="MetaCLIP 2",
    projects_parts=True,
    stretches=True,
    pads_to_limit=False,
    loss="softmax",
    max_logit_scale=100.0,
)
Model: Any = MetaClip2Model
Processor: Any = CLIPProcessor
ImageProcessor: Any = CLIPImageProcessorPil


def prepare(model: Any, tokenizer: Any, where: object) -> None:
    """Refuse a tokenizer that is too large, or that ends texts with another token than the model reads them at."""
    check_size(tokenizer, model, where)
    name_end(model, tokenizer, where)
