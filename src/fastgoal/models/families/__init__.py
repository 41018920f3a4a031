"""The architectures that can be trained, one module each with the same names, chosen by `model_type` in config.json.

Everything else in fastgoal sees a model through `DualEncoder`, and `DualEncoder` sees transformers through one of these
modules. A further architecture is a further module and a further line in `FAMILIES`.

Shapes: B items, C channels, H x W pixels, T tokens, P patches, W tower width, D joint dimensions.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from fastgoal.errors import ModelError
from fastgoal.geometry import ImageFit
from fastgoal.models.families import clip, metaclip_2, siglip
from fastgoal.models.families.traits import Traits


class Family(Protocol):
    """What a family's module holds.

    Model, Processor, ImageProcessor: transformers' classes; the Pil image processor, because the Auto class and the
        plain one need torchvision.
    """

    MODEL_TYPE: str
    TRAITS: Traits
    Model: Any
    Processor: Any
    ImageProcessor: Any

    def prepare(self, model: Any, tokenizer: Any, where: object) -> None:
        """Refuse a model and a tokenizer that do not belong together (ModelError); mend in place what has one mend."""

    def encode_images(self, model: Any, pixels_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised embedding_BD and patches_BPW, row by row."""

    def image_attention(self, model: Any, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """How much the image's embedding attends to each patch in the layer it is read from, mean over heads, B x P."""

    def encode_texts(self, model: Any, ids_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised embedding_BD and tokens_BTW."""

    def project_patches(self, model: Any, pooled_BW: torch.Tensor) -> torch.Tensor:
        """Pooled patches in the joint space, normalised (only with `TRAITS.projects_parts`)."""

    def project_tokens(self, model: Any, pooled_BW: torch.Tensor) -> torch.Tensor:
        """Pooled tokens in the joint space, normalised (only with `TRAITS.projects_parts`)."""

    def dim(self, model: Any) -> int:
        """Dimensions D of the joint space."""

    def architecture(self, model: Any) -> list[list[object]]:
        """What the shapes of the weights do not say, in words that no version of transformers changes."""

    def image_fit(self, processor: Any, model: Any, where: object) -> ImageFit:
        """The processor's settings as an `ImageFit`; ModelError where none says them."""


FAMILIES: Mapping[str, Family] = {family.MODEL_TYPE: family for family in (clip, metaclip_2, siglip)}

_OTHERS = {
    "siglip2": (
        "images of any shape, in patches (NaFlex)",
        'Use a SigLIP 2 of a fixed resolution (its config.json says "model_type": "siglip")',
    ),
    "blip-2": ("models that can be evaluated but not trained", "Give it to `fastgoal eval` only, or train another"),
}
"""Architectures that are known and refused: what they are, and the mend."""


def family_named(model_type: object, where: object) -> Family:
    """The family of a `model_type`.

    Raises:
        ModelError: there is none.
    """
    if model_type in FAMILIES:
        return FAMILIES[str(model_type)]
    names = ", ".join(f'"{name}"' for name in FAMILIES)
    reason, mend = _OTHERS.get(str(model_type), ("", f'Use a model whose config.json has a "model_type" of {names}'))
    what = f"its architecture is {json.dumps(model_type)}, which is not supported"
    raise ModelError(f"{what}: {reason}" if reason else what, where=where, mend=mend)
