"""A CLIP-like dual encoder: one tower for images, one for texts, one joint space.

Everything downstream (matching, training, evaluation, search) sees a model through this class only. It hands out,
from a single pass, both the joint embedding and the last layer's patches or tokens, and it reads and writes plain
transformers folders that stock `AutoModel.from_pretrained` and `AutoProcessor.from_pretrained` load without any code of
ours. What differs between architectures (CLIP, MetaCLIP 2, SigLIP) is in `models.families`.

Shapes: B items, C channels, H x W pixels, T tokens, P patches (grid x grid, row by row), W tower width, D joint
dimensions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastgoal.devices import to_device
from fastgoal.errors import ModelError
from fastgoal.models.families import FAMILIES, Family, family_named
from fastgoal.models.families.traits import Traits
from fastgoal.models.fingerprint import fingerprint
from fastgoal.models.folder import read_folder, write_folder
from fastgoal.models.longtext import LONG_CLIP_TOKENS, stretch
from fastgoal.models.tokens import TextBatch, tokenize, tokenizer_facts


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """An image batch, from one pass.

    embedding_BD: float32, unit length.
    patches_BPW: the last layer's patches, without a class token; before the post layer norm where the family projects
        patches.
    """

    embedding_BD: torch.Tensor
    patches_BPW: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """A text batch, from one pass.

    embedding_BD: float32, unit length.
    tokens_BTW: the last layer's tokens, before the final layer norm where the family projects tokens; those of padding
        have no meaning.
    """

    embedding_BD: torch.Tensor
    tokens_BTW: torch.Tensor


class DualEncoder(nn.Module):
    """An image tower and a text tower with their tokenizer and image fit.

    Args:
        model: the transformers model, in float32.
        tokenizer: its tokenizer; its `model_max_length` is set to the model's text limit.
        image_processor: its Pil image processor.
        name: what reports call it.
    """

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any, *, name: str = "") -> None:
        super().__init__()
        family = family_named(model.config.model_type, name)
        family.prepare(model, tokenizer, name)
        self.model, self.tokenizer, self.image_processor, self.name = model, tokenizer, image_processor, name
        self.fit = family.image_fit(image_processor, model, name)
        self.tokenizer.padding_side = "right"
        self.tokenizer.model_max_length = self.text_limit

    @classmethod
    def load(
        cls, name: str | Path, *, device: str | torch.device = "cpu", text_tokens: int | None = None
    ) -> "DualEncoder":
        """Load a model in float32, ready for inference.

        Args:
            name: a local folder (never touches the network), a hub id, or `tiny` (bundled).
            device: where its weights go.
            text_tokens: text limit to stretch or cut the model to; None keeps its own.

        Raises:
            ModelError: no such model, another architecture, weights that are missing or do not fit, a tokenizer that
                disagrees with the config; a device that is not there.
        """
        encoder = cls(*read_folder(str(name)), name=str(name))
        if text_tokens is not None:
            encoder.set_text_limit(text_tokens)
        return to_device(encoder, device)

    def save(self, folder: str | Path) -> None:
        """Write a plain transformers folder: config, safetensors, tokenizer, and both processor files."""
        write_folder(Path(folder), self.model, self.tokenizer, self.image_processor)

    def set_text_limit(self, tokens: int) -> None:
        """Stretch (Long-CLIP's way) or cut the text positions, in place, and the tokenizer's limit with them.

        Raises:
            ModelError: too few tokens, or a family whose limit cannot change.
        """
        if tokens == self.text_limit:
            return
        if not self.traits.stretches:
            what = f"{self.traits.title} reads {self.text_limit} tokens, and its text limit cannot change to {tokens}"
            mend = "Leave out the text limit (--tokens, text_tokens); it reads a text at its last position"
            raise ModelError(what, where=self.name, mend=mend)
        stretch(self.model, tokens)
        self.tokenizer.model_max_length = tokens

    def limit_for(self, asked: int | None) -> int:
        """The text limit to train at: what is asked for; else 248 tokens, as in both papers, or the model's own where
        that is longer or cannot change.
        """
        if asked is not None:
            return asked
        return max(self.text_limit, LONG_CLIP_TOKENS) if self.traits.stretches else self.text_limit

    @property
    def family(self) -> Family:
        """The module that knows this architecture."""
        return FAMILIES[self.model.config.model_type]

    @property
    def traits(self) -> Traits:
        """What this architecture can do and how it was pre-trained."""
        return self.family.TRAITS

    @property
    def text_limit(self) -> int:
        """Most tokens of a text, begin and end included."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def patch(self) -> int:
        """Side of a patch, in pixels of the model's input."""
        return int(self.model.config.vision_config.patch_size)

    @property
    def grid(self) -> int:
        """Patches along one side of the input; P = grid * grid."""
        return self.fit.size // self.patch

    @property
    def dim(self) -> int:
        """Dimensions D of the joint space."""
        return self.family.dim(self.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def logit_scale(self) -> torch.Tensor:
        """The learned scale of similarities (0-D), at most 100 in the CLIP family.

        Beyond the limit the gradient still passes, so that a scale that starts at the limit (OpenAI's do) can come
        down again.
        """
        scale: torch.Tensor = self.model.logit_scale.exp().squeeze()
        bound = self.traits.max_logit_scale
        return scale if bound is None else scale - (scale - bound).clamp(min=0).detach()

    @property
    def logit_bias(self) -> torch.Tensor | None:
        """The learned bias of similarities (0-D), which the sigmoid loss has and softmax has no use for (None)."""
        bias: torch.Tensor | None = getattr(self.model, "logit_bias", None)
        return None if bias is None else bias.squeeze()

    def bound_logit_scale(self) -> None:
        """Put the scale back to its bound, in place: CLIP's own guard against a parameter that runs away behind it."""
        if self.traits.max_logit_scale is not None:
            self.model.logit_scale.data.clamp_(max=math.log(self.traits.max_logit_scale))

    @property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over weights, architecture, image fit and tokenizer. Reads all weights: ask once."""
        facts = [self.family.architecture(self.model), repr(self.fit), tokenizer_facts(self.tokenizer)]
        return fingerprint(self.model.state_dict(), facts)

    def tokenize(self, texts: Sequence[str]) -> TextBatch:
        """Texts as tokens with character offsets: cut at the text limit, the end token kept, padded as it wants."""
        return tokenize(self.tokenizer, texts, self.text_limit, pad_to_limit=self.traits.pads_to_limit)

    def encode_images(self, pixels_BCHW: torch.Tensor) -> ImageFeatures:
        """Embed normalised float pixels (C = 3, H = W = fit.size), which are on the model's device."""
        embedding_BD, patches_BPW = self.family.encode_images(self.model, pixels_BCHW)
        return ImageFeatures(embedding_BD=embedding_BD, patches_BPW=patches_BPW)

    def image_attention(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """How much an image's embedding attends to each patch: float32 B x P, a row sums to 1.

        CLIP family: the class token in the last layer; SigLIP: the probe of the pooling head. Mean over heads.
        """
        weight_BP = self.family.image_attention(self.model, pixels_BCHW)
        return weight_BP / weight_BP.sum(dim=-1, keepdim=True)

    def encode_texts(self, texts: TextBatch) -> TextFeatures:
        """Embed tokenised texts. The result does not depend on batch mates or padding."""
        embedding_BD, tokens_BTW = self.family.encode_texts(self.model, texts.input_ids_BT.to(self.device))
        return TextFeatures(embedding_BD=embedding_BD, tokens_BTW=tokens_BTW)

    def project_patches(self, pooled_BW: torch.Tensor) -> torch.Tensor:
        """Pooled patches in the joint space: one norm, projection, unit length (B,D)."""
        return self.family.project_patches(self.model, pooled_BW)

    def project_tokens(self, pooled_BW: torch.Tensor) -> torch.Tensor:
        """Pooled tokens in the joint space: one norm, projection, unit length (B,D)."""
        return self.family.project_tokens(self.model, pooled_BW)

    def forward(
        self, pixels_BCHW: torch.Tensor | None = None, texts: Sequence[TextBatch] = ()
    ) -> tuple[ImageFeatures | None, list[TextFeatures]]:
        """One image pass and one pass per text batch, through one call so that DDP and FSDP hooks run."""
        images = None if pixels_BCHW is None else self.encode_images(pixels_BCHW)
        return images, [self.encode_texts(batch) for batch in texts]
