"""One batch through the encoder, and the loss terms of what comes out.

Whole images and crops go through the image tower in one pass; captions and sentences in two passes, because sentences
are much shorter and each pass is padded to its own longest. What the loss weights do not ask for is not encoded:
`global` sees no crop, `local` no whole image. The towers may run in bfloat16; pooling, projection of the pooled
features and losses are float32.

Shapes: B samples, K local pairs of a sample at most, V local pairs of all, N images of the pass, P patches, T tokens,
W tower width, D joint dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from fastgoal.data.images import normalise
from fastgoal.losses import LossWeights, caption_hardness, info_nce, pool, sigmoid_loss, token_similarity
from fastgoal.models.dual_encoder import DualEncoder, ImageFeatures, TextFeatures
from fastgoal.training.batches import Batch, global_side


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weighted sum of the loss terms, with its options (see `TrainConfig`)."""

    weights: LossWeights
    tsl_target: Literal["diagonal", "matrix"] = "diagonal"
    tsl_stop_gradient: bool = False
    hard_negatives: float = 0.0

    def __call__(
        self, encoder: DualEncoder, batch: Batch, *, model: nn.Module | None = None, dtype: torch.dtype | None = None
    ) -> Mapping[str, torch.Tensor]:
        """Scalars by name: `loss`, and the unweighted `global`, `local` and `tsl` that have a weight. `loss` carries
        the gradient.

        Args:
            model: the encoder as a trainer wrapped it (default: the encoder); its `forward` does the encoding.
            dtype: run the towers in this type (None: float32).
        """
        features = self._encode(encoder, batch, model or encoder, dtype)
        terms = self._terms(encoder, batch, features)
        weight_of = {"global": self.weights.global_, "local": self.weights.local, "tsl": self.weights.tsl}
        return {"loss": torch.stack([weight_of[name] * term for name, term in terms.items()]).sum(), **terms}

    def _encode(self, encoder: DualEncoder, batch: Batch, model: nn.Module, dtype: torch.dtype | None) -> "_Features":
        pixels_NCHW = normalise(batch.views_NHWC, encoder.fit)
        texts = [text for text in (batch.captions, batch.sentences) if text is not None]
        with torch.autocast(pixels_NCHW.device.type, dtype=dtype, enabled=dtype is not None):
            images, encoded = model(pixels_NCHW, texts)
        whole = len(batch.ids) if global_side(self.weights) else 0
        return _Features(
            images=images,
            captions=encoded[0] if batch.captions is not None else None,
            sentence_VD=encoded[-1].embedding_BD if batch.sentences is not None else None,
            whole_BD=images.embedding_BD[:whole],
            crop_VD=images.embedding_BD[whole:],
        )

    def _terms(self, encoder: DualEncoder, batch: Batch, seen: "_Features") -> dict[str, torch.Tensor]:
        terms: dict[str, torch.Tensor] = {}
        if self.weights.global_ and seen.captions is not None:
            caption_BD = seen.captions.embedding_BD
            options = {"harder_BB": caption_hardness(caption_BD, self.hard_negatives)} if self.hard_negatives else {}
            terms["global"] = contrast(encoder, seen.whole_BD, caption_BD, batch.same_BB, **options)
        if self.weights.local:
            terms["local"] = self._local(encoder, batch, seen)
        if self.weights.tsl:
            terms["tsl"] = self._tsl(encoder, batch, seen)
        return terms

    def _local(self, encoder: DualEncoder, batch: Batch, seen: "_Features") -> torch.Tensor:
        if seen.sentence_VD is None:
            return seen.whole_BD.new_zeros(())
        return contrast(encoder, seen.crop_VD, seen.sentence_VD, batch.same_VV, weight_B=batch.weight_V)

    def _tsl(self, encoder: DualEncoder, batch: Batch, seen: "_Features") -> torch.Tensor:
        """Both modalities; each is a mean over the pairs whose region (sentence) is still within the model's sight."""
        if seen.sentence_VD is None or seen.captions is None:
            return seen.whole_BD.new_zeros(())
        options: dict[str, Any] = {
            "weight_B": batch.weight_V,
            "target": self.tsl_target,
            "stop_gradient": self.tsl_stop_gradient,
        }
        row_V, slot_V = batch.rows_V, batch.slots_V
        patches_BPW = seen.images.patches_BPW[: len(batch.ids)].float()
        patch_VW = pool(patches_BPW, batch.patch_weights_BKP)[row_V, slot_V]
        token_VW = pool(seen.captions.tokens_BTW.float(), batch.token_weights_BKT)[row_V, slot_V]
        patch_valid_V = batch.patch_weights_BKP.any(dim=2)[row_V, slot_V]
        token_valid_V = batch.token_weights_BKT.any(dim=2)[row_V, slot_V]
        image = token_similarity(encoder.project_patches(patch_VW), seen.crop_VD, patch_valid_V, **options)
        return image + token_similarity(encoder.project_tokens(token_VW), seen.sentence_VD, token_valid_V, **options)


def contrast(
    encoder: DualEncoder,
    image_BD: torch.Tensor,
    text_BD: torch.Tensor,
    same_BB: torch.Tensor | None,
    **options: torch.Tensor,
) -> torch.Tensor:
    """The contrastive loss that the model's family was pre-trained with; options as in `info_nce`, `sigmoid_loss`."""
    bias = encoder.logit_bias
    if encoder.traits.loss == "sigmoid" and bias is not None:
        return sigmoid_loss(image_BD, text_BD, encoder.logit_scale, bias, same_BB, **options)
    return info_nce(image_BD, text_BD, encoder.logit_scale, same_BB, **options)


@dataclass(frozen=True, kw_only=True)
class _Features:
    """What the towers gave for a batch; `sentence_VD` is None when no sample has a local pair."""

    images: ImageFeatures
    captions: TextFeatures | None
    sentence_VD: torch.Tensor | None
    whole_BD: torch.Tensor
    crop_VD: torch.Tensor
