"""Models of the open_clip library (EVA-CLIP, CoCa, ViTamin and others), for evaluation only.

Written from open_clip's documented interface (`create_model_and_transforms`, `get_tokenizer`, `encode_image`,
`encode_text`, `visual.preprocess_cfg`), and compared with open_clip itself on random weights of a plain CLIP, EVA02 and
CoCa; no published checkpoint was loaded.

Images go through our own fit, made from the model's `preprocess_cfg`, so that a test set is decoded once for all. It
differs from torchvision's in the central crop of an image whose excess is odd: by one pixel at most.

Shapes: B items, C channels, H x W pixels, T tokens, D joint dimensions.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fastgoal.devices import to_device
from fastgoal.errors import ModelError, first_line
from fastgoal.geometry import ImageFit
from fastgoal.models.families.clip import unit
from fastgoal.models.families.traits import Traits
from fastgoal.models.fingerprint import fingerprint
from fastgoal.models.longtext import check_cut
from fastgoal.models.retriever import Embedded
from fastgoal.models.tokens import TextBatch

PREFIX = "open_clip:"
TRAITS = Traits(
    title="open_clip", projects_parts=False, stretches=False, pads_to_limit=True, loss="softmax", max_logit_scale=None
)
_MODES = {"shortest": "crop", "squash": "squash", "longest": "pad"}
_RESAMPLE = {"bicubic": 3, "bilinear": 2}


class OpenClipRetriever(nn.Module):
    """A `Retriever` of an open_clip model.

    Args:
        model, tokenizer: what `create_model_and_transforms` and `get_tokenizer` give.
        text_tokens: a lower text limit; None is the model's own.
    """

    traits = TRAITS

    def __init__(self, model: Any, tokenizer: Any, *, name: str = "", text_tokens: int | None = None) -> None:
        super().__init__()
        most = int(getattr(model, "context_length", None) or tokenizer.context_length)
        if text_tokens not in (None, most):
            check_cut(text_tokens, most, name)
            raise ModelError(
                f"its text limit of {most} tokens cannot change to {text_tokens}",
                where=name,
                mend="Leave out the text limit",
            )
        self.model, self._tokenizer, self.name, self.text_limit = model, tokenizer, name, most
        self.fit = fit_of_config(model.visual.preprocess_cfg, name)
        with torch.inference_mode():
            probe = model.encode_text(tokenizer(["a"], context_length=most).to(self.device))
        self.dim = int(probe.shape[1])

    @classmethod
    def load(cls, name: str, *, device: str = "cpu", text_tokens: int | None = None) -> "OpenClipRetriever":
        """Load `open_clip:NAME@PRETRAINED`, in float32. open_clip may download the weights.

        Raises:
            ModelError: open_clip is not installed, or does not know the model.
        """
        architecture, _, pretrained = name.removeprefix(PREFIX).partition("@")
        if not architecture or not pretrained:
            mend = "Write open_clip:NAME@PRETRAINED, such as open_clip:EVA02-B-16@merged2b_s8b_b131k"
            raise ModelError("this names no model and weights of open_clip", where=name, mend=mend)
        library = _library(name)
        try:
            model, _, _ = library.create_model_and_transforms(architecture, pretrained=pretrained, precision="fp32")
            tokenizer = library.get_tokenizer(architecture)
        except Exception as error:  # whatever an unknown name or a failed download makes it raise
            mend = "`open_clip.list_pretrained()` names them all"
            raise ModelError(f"open_clip cannot load it: {first_line(error)}", where=name, mend=mend) from error
        return to_device(cls(model.eval(), tokenizer, name=name, text_tokens=text_tokens), device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over weights, name and image fit."""
        return fingerprint(self.model.state_dict(), [self.name, repr(self.fit)])

    def tokenize(self, texts: Sequence[str]) -> TextBatch:
        """Texts as open_clip tokenises them, cut at the text limit and padded to it; character offsets are not known.

        A text is counted as cut if with room for one token more it would fill that too.
        """
        limit = self.text_limit
        ids_BT = self._tokenizer(list(texts), context_length=limit)
        longer_BT = self._tokenizer(list(texts), context_length=limit + 1)
        return TextBatch(
            input_ids_BT=ids_BT,
            attention_mask_BT=torch.ones_like(ids_BT),
            offsets_BT2=np.zeros((*ids_BT.shape, 2), np.int64),
            truncated_B=(longer_BT[:, limit] != _padding(self._tokenizer)).numpy(),
        )

    def encode_images(self, pixels_BCHW: torch.Tensor) -> Embedded:
        """Embeddings B x D of normalised pixels."""
        return Embedded(embedding_BD=unit(self.model.encode_image(pixels_BCHW)))

    def encode_texts(self, texts: TextBatch) -> Embedded:
        """Embeddings B x D of tokenised texts."""
        return Embedded(embedding_BD=unit(self.model.encode_text(texts.input_ids_BT)))


def fit_of_config(config: Mapping[str, Any], where: object) -> ImageFit:
    """open_clip's `preprocess_cfg` as an `ImageFit`.

    Raises:
        ModelError: an oblong input, padding that is not black, or a way of resizing that is not known here.
    """
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    mode, resample = _MODES.get(config["resize_mode"]), _RESAMPLE.get(config["interpolation"])
    filled = config["resize_mode"] == "longest" and config.get("fill_color", 0) != 0
    if height != width or mode is None or resample is None or filled:
        settings = json.dumps(dict(config), default=str)
        raise ModelError(f"its image preprocessing {settings} is not supported", where=where, mend="Use another model")
    (r, g, b), (sr, sg, sb) = config["mean"], config["std"]
    return ImageFit(mode=mode, size=height, resize=height, resample=resample, mean=(r, g, b), std=(sr, sg, sb))  # type: ignore[arg-type]


def _padding(tokenizer: Any) -> int:
    """open_clip's own tokenizer pads with 0; a wrapped one of transformers with its own token."""
    inner = getattr(tokenizer, "tokenizer", None)
    return int(getattr(inner, "pad_token_id", None) or 0)


def _library(name: str) -> Any:
    try:
        import open_clip  # an extra, and slow to import
    except ImportError as error:
        mend = "Install it with `pip install 'fastgoal[openclip]'`"
        raise ModelError(f"open_clip cannot be imported ({error})", where=name, mend=mend) from error
    return open_clip
