"""One batch through the encoder: the rows that the loss terms see of it.

All of it is the `forward` of one module, because what wraps a module for several processes (DDP, FSDP) only sees what
goes through there. Whole images and crops go through the image tower in one pass; captions and sentences in two passes,
because sentences are much shorter and each pass is padded to its own longest. What the loss weights do not ask for is
not encoded: `global` sees no crop, `local` no whole image. The towers may run in bfloat16; pooling, and projection of
the pooled features, are float32.

A batch without images, captions or sentences still takes each pass, over a black picture or an empty text, and gives no
row: other processes wait for this one's share of the gradient.

Shapes: B samples, K local pairs of a sample at most, V local pairs of all, P patches, T tokens, X patches or tokens, W
tower width, D joint dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import nn

from fastgoal.data.images import normalise
from fastgoal.losses import LossWeights, pool
from fastgoal.models.dual_encoder import DualEncoder, ImageFeatures, TextFeatures
from fastgoal.training.batches import Batch, global_side, local_side


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the loss terms see of a batch: rows of unit length in the joint space, float32. None where the loss weights
    do not ask for it.

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


class Encoding(nn.Module):
    """The encoder as a module from batches to features.

    Args:
        dtype: run the towers in this type (None: float32).
    """

    def __init__(self, encoder: DualEncoder, weights: LossWeights, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.encoder, self.weights, self.dtype = encoder, weights, dtype

    def forward(self, batch: Batch) -> Features:
        """What the terms need of a batch, or of a part of one; it is on the encoder's device."""
        encoder, views_NHWC, whole = self.encoder, batch.views_NHWC, global_side(self.weights)
        if not len(views_NHWC):
            views_NHWC = views_NHWC.new_zeros(1, *views_NHWC.shape[1:])
        pixels_NCHW = normalise(views_NHWC, encoder.fit)
        wanted = [batch.captions] * whole + [batch.sentences] * local_side(self.weights)
        texts = [text if text is not None and len(text) else encoder.tokenize([""]) for text in wanted]
        with torch.autocast(pixels_NCHW.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            images, encoded = encoder(pixels_NCHW, texts)
        samples, pairs = len(batch.ids) * whole, len(batch.rows_V)
        local = local_side(self.weights)
        return Features(
            whole_BD=images.embedding_BD[:samples] if self.weights.global_ else None,
            caption_BD=encoded[0].embedding_BD[:samples] if self.weights.global_ else None,
            crop_VD=images.embedding_BD[samples : samples + pairs] if local else None,
            sentence_VD=encoded[-1].embedding_BD[:pairs] if local else None,
            patch_VD=_pooled_patches(encoder, batch, images) if self.weights.tsl else None,
            token_VD=_pooled_tokens(encoder, batch, encoded[0]) if self.weights.tsl else None,
        )


def _pooled_patches(encoder: DualEncoder, batch: Batch, images: ImageFeatures) -> torch.Tensor:
    if not len(batch.rows_V):
        return images.embedding_BD[:0]
    patches_BPW = images.patches_BPW[: len(batch.ids)].float()
    patch_VW = pool(patches_BPW, batch.patch_weights_BKP)[batch.rows_V, batch.slots_V]
    return encoder.project_patches(patch_VW)


def _pooled_tokens(encoder: DualEncoder, batch: Batch, captions: TextFeatures) -> torch.Tensor:
    if not len(batch.rows_V):
        return captions.embedding_BD[:0]
    token_VW = pool(captions.tokens_BTW.float(), batch.token_weights_BKT)[batch.rows_V, batch.slots_V]
    return encoder.project_tokens(token_VW)


def joined(parts: Sequence[Features]) -> Features:
    """The features of consecutive parts as those of one batch."""
    rows = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Features)}
    return Features(**{name: torch.cat(own) for name, own in rows.items() if own[0] is not None})
