"""One batch through the encoder, and the loss terms of what comes out: first `encode`, then `terms`.

Between the two stand the `Features`, a few small matrices in the joint space: all that the terms see of a batch. That
is what lets `cached` encode it piece by piece.

Whole images and crops go through the image tower in one pass; captions and sentences in two passes, because sentences
are much shorter and each pass is padded to its own longest. What the loss weights do not ask for is not encoded:
`global` sees no crop, `local` no whole image. The towers may run in bfloat16; pooling, projection of the pooled
features and losses are float32.

Shapes: B samples, K local pairs of a sample at most, V local pairs of all, N images of the pass, P patches, T tokens,
X patches or tokens, W tower width, D joint dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from fastgoal.data.images import normalise
from fastgoal.losses import LossWeights, caption_hardness, info_nce, pool, sigmoid_loss, token_similarity
from fastgoal.models.dual_encoder import DualEncoder, ImageFeatures, TextFeatures
from fastgoal.training.batches import Batch


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the loss terms see of a batch: rows of unit length in the joint space, float32. None where the loss weights
    do not ask for it, and of the pairs where no sample has one.

    whole_BD, caption_BD: embeddings of the whole images and captions. crop_VD, sentence_VD: of the local pairs' regions
    and sentences. patch_VD, token_VD: projected pools of the region's patches and the sentence's tokens within the
    whole; without meaning where nothing of them is in sight.
    """

    whole_BD: torch.Tensor | None = None
    caption_BD: torch.Tensor | None = None
    crop_VD: torch.Tensor | None = None
    sentence_VD: torch.Tensor | None = None
    patch_VD: torch.Tensor | None = None
    token_VD: torch.Tensor | None = None


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
        """The `terms` of a batch that is encoded as a whole; arguments as in `encode`."""
        return self.terms(encoder, self.encode(encoder, batch, model=model, dtype=dtype), batch)

    def encode(
        self, encoder: DualEncoder, batch: Batch, *, model: nn.Module | None = None, dtype: torch.dtype | None = None
    ) -> Features:
        """What the terms need of a batch, or of a part of one.

        Args:
            batch: on the encoder's device.
            model: the encoder as a trainer wrapped it (default: the encoder); its `forward` does the encoding.
            dtype: run the towers in this type (None: float32).
        """
        pixels_NCHW = normalise(batch.views_NHWC, encoder.fit)
        texts = [text for text in (batch.captions, batch.sentences) if text is not None]
        with torch.autocast(pixels_NCHW.device.type, dtype=dtype, enabled=dtype is not None):
            images, encoded = (model or encoder)(pixels_NCHW, texts)
        whole, paired = len(batch.ids) if batch.captions is not None else 0, batch.sentences is not None
        pooled = self.weights.tsl > 0 and paired
        return Features(
            whole_BD=images.embedding_BD[:whole] if self.weights.global_ else None,
            caption_BD=encoded[0].embedding_BD if self.weights.global_ else None,
            crop_VD=images.embedding_BD[whole:] if paired else None,
            sentence_VD=encoded[-1].embedding_BD if paired else None,
            patch_VD=_pooled_patches(encoder, batch, images) if pooled else None,
            token_VD=_pooled_tokens(encoder, batch, encoded[0]) if pooled else None,
        )

    def terms(self, encoder: DualEncoder, features: Features, batch: Batch) -> Mapping[str, torch.Tensor]:
        """Scalars by name: `loss`, and the unweighted `global`, `local` and `tsl` that have a weight. `loss` carries
        the gradient.

        Args:
            encoder: gives the scale (and bias) of the similarities.
            batch: says what belongs together; on any device.
        """
        terms: dict[str, torch.Tensor] = {}
        if self.weights.global_:
            terms["global"] = self._global(encoder, features, batch)
        if self.weights.local:
            terms["local"] = self._local(encoder, features, batch)
        if self.weights.tsl:
            terms["tsl"] = self._tsl(encoder, features, batch)
        weight_of = {"global": self.weights.global_, "local": self.weights.local, "tsl": self.weights.tsl}
        return {"loss": torch.stack([weight_of[name] * term for name, term in terms.items()]).sum(), **terms}

    def _global(self, encoder: DualEncoder, features: Features, batch: Batch) -> torch.Tensor:
        whole_BD, caption_BD = features.whole_BD, features.caption_BD
        assert whole_BD is not None and caption_BD is not None
        options = {"harder_BB": caption_hardness(caption_BD, self.hard_negatives)} if self.hard_negatives else {}
        return contrast(encoder, whole_BD, caption_BD, batch.same_BB, **options)

    def _local(self, encoder: DualEncoder, features: Features, batch: Batch) -> torch.Tensor:
        if features.crop_VD is None or features.sentence_VD is None:
            return _zero(encoder)
        return contrast(encoder, features.crop_VD, features.sentence_VD, batch.same_VV, weight_B=batch.weight_V)

    def _tsl(self, encoder: DualEncoder, features: Features, batch: Batch) -> torch.Tensor:
        """Both modalities; each is a mean over the pairs whose region (sentence) is still within the model's sight."""
        term = _zero(encoder)
        for pooled_VD, local_VD, weights_BKX in (
            (features.patch_VD, features.crop_VD, batch.patch_weights_BKP),
            (features.token_VD, features.sentence_VD, batch.token_weights_BKT),
        ):
            if pooled_VD is not None and local_VD is not None:
                term = term + token_similarity(
                    pooled_VD,
                    local_VD,
                    weights_BKX.any(dim=2)[batch.rows_V, batch.slots_V],
                    weight_B=batch.weight_V,
                    target=self.tsl_target,
                    stop_gradient=self.tsl_stop_gradient,
                )
        return term


def _pooled_patches(encoder: DualEncoder, batch: Batch, images: ImageFeatures) -> torch.Tensor:
    patches_BPW = images.patches_BPW[: len(batch.ids)].float()
    patch_VW = pool(patches_BPW, batch.patch_weights_BKP)[batch.rows_V, batch.slots_V]
    return encoder.project_patches(patch_VW)


def _pooled_tokens(encoder: DualEncoder, batch: Batch, captions: TextFeatures) -> torch.Tensor:
    token_VW = pool(captions.tokens_BTW.float(), batch.token_weights_BKT)[batch.rows_V, batch.slots_V]
    return encoder.project_tokens(token_VW)


def _zero(encoder: DualEncoder) -> torch.Tensor:
    """A term to which no sample contributes."""
    return encoder.logit_scale.new_zeros(())


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
