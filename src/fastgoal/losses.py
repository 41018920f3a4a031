"""The losses of GOAL and FAST-GOAL as pure functions of tensors.

    L = global * InfoNCE(images, captions) + local * InfoNCE(regions, sentences) + tsl * (TSL(images) + TSL(texts))

The token similarity loss (TSL) asks that the part of a whole image (or caption) that shows the region (or says the
sentence), once pooled and projected, be the embedding of the region (or sentence) alone. A sample without a local
pair is masked out: local and TSL terms are means over the valid pairs, and zero, with a gradient of zero, when
there is none.

Models of the SigLIP family have their sigmoid loss in the place of InfoNCE.

Source: GOAL (arXiv 2503.17782, equations 9 to 15), FAST-GOAL (arXiv 2605.26615), SigLIP (arXiv 2303.15343).

Shapes: B samples, D joint dimensions, T tokens or patches, W tower width. Embeddings have unit length.
"""

from dataclasses import dataclass, fields
from typing import Literal

import torch

from fastgoal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each term counts; `global_` has its underscore because `global` is a word of Python."""

    global_: float
    local: float
    tsl: float

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if not all(0 <= value < float("inf") for value in values) or not any(values):
            raise ConfigError(
                f"the loss weights {values} cannot be used", mend="Give numbers of 0 or more, at least one above 0"
            )


METHODS = {
    "global": LossWeights(global_=1.0, local=0.0, tsl=0.0),
    "local": LossWeights(global_=0.0, local=1.0, tsl=0.0),
    "no-tsl": LossWeights(global_=1.0, local=0.5, tsl=0.0),
    "goal": LossWeights(global_=1.0, local=0.5, tsl=1.0),
}
"""The rows of the papers' ablation, by name."""


def info_nce(
    image_BD: torch.Tensor,
    text_BD: torch.Tensor,
    scale: torch.Tensor | float,
    same_BB: torch.Tensor | None = None,
    valid_B: torch.Tensor | None = None,
    *,
    weight_B: torch.Tensor | None = None,
    harder_BB: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE: each image picks its text among all texts, each text its image among all images.

    Args:
        image_BD: image embeddings; row i belongs to row i of `text_BD`.
        text_BD: text embeddings.
        scale: inverse temperature of the similarities.
        same_BB: true where image i and text j are no negatives of each other (two captions of one image, equal
            captions); the diagonal does not matter. None: every other pair is a negative.
        valid_B: true where row i is a pair at all; the others are neither queries nor negatives. None: all are.
        weight_B: how much each row counts as a query, 0 or more. None: all the same.
        harder_BB: added to the logits of the negatives (the diagonal does not matter), so that some of them push more
            than they would by themselves. None: nothing.

    Returns:
        Scalar, the weighted mean over the valid rows of the mean of both directions; 0 without any.
    """
    with _full_precision(image_BD):
        logits_BB = scale * (image_BD @ text_BD.T)
        valid_B = _valid(valid_B, logits_BB)
        ignored_BB = ~(valid_B[:, None] & valid_B)
        if same_BB is not None:
            ignored_BB = ignored_BB | same_BB.to(logits_BB.device)
        pairs_BB = torch.eye(len(logits_BB), dtype=torch.bool, device=logits_BB.device)
        if harder_BB is not None:
            logits_BB = logits_BB + harder_BB.masked_fill(pairs_BB, 0)
        logits_BB = logits_BB.masked_fill(ignored_BB & ~pairs_BB, float("-inf"))
        loss_B = -(logits_BB.log_softmax(dim=1).diagonal() + logits_BB.log_softmax(dim=0).diagonal()) / 2
        return _mean(loss_B, valid_B, weight_B)


def sigmoid_loss(
    image_BD: torch.Tensor,
    text_BD: torch.Tensor,
    scale: torch.Tensor | float,
    bias: torch.Tensor | float,
    same_BB: torch.Tensor | None = None,
    valid_B: torch.Tensor | None = None,
    *,
    weight_B: torch.Tensor | None = None,
) -> torch.Tensor:
    """SigLIP's loss: for every image and text by themselves, whether they belong together (arXiv 2303.15343, eq. 1).

        -sum over i, j of log sigmoid(z_ij (scale * x_i . y_j + bias)) / B, with z_ij = 1 if i = j, else -1

    The sum is divided by the number of rows B, not of pairs, as in the paper and in transformers; so the loss of a row
    grows with the batch.

    Args:
        image_BD, text_BD, scale, valid_B: as in `info_nce`.
        bias: added to every logit; negative at the start of training, because nearly all pairs are negatives.
        same_BB: true where image i and text j are no negatives of each other: such pairs contribute nothing.
        weight_B: how much each row counts, 0 or more; a negative counts as the mean of its two rows. None: all the
            same.

    Returns:
        Scalar: per valid row (by weight); 0 without any.
    """
    with _full_precision(image_BD):
        logits_BB = scale * (image_BD @ text_BD.T) + bias
        valid_B = _valid(valid_B, logits_BB)
        pairs_BB = torch.eye(len(logits_BB), dtype=torch.bool, device=logits_BB.device)
        counted_BB = valid_B[:, None] & valid_B
        if same_BB is not None:
            counted_BB = counted_BB & (pairs_BB | ~same_BB.to(logits_BB.device))
        signs_BB = 2 * pairs_BB.to(logits_BB) - 1
        loss_BB = -torch.nn.functional.logsigmoid(signs_BB * logits_BB) * counted_BB
        return _mean((loss_BB.sum(dim=0) + loss_BB.sum(dim=1)) / 2, valid_B, weight_B)


def caption_hardness(text_BD: torch.Tensor, weight: float) -> torch.Tensor:
    """How much harder each negative becomes for what its caption has in common with the query's.

    `weight` times the cosine similarity of every two captions, without gradient, for `info_nce`'s `harder_BB`; the same
    both ways, since image and caption of a pair are asked the same.
    """
    with _full_precision(text_BD):
        text_BD = text_BD.detach()
        return weight * (text_BD @ text_BD.T)


def pool(tokens_BTW: torch.Tensor, weights_BKT: torch.Tensor) -> torch.Tensor:
    """K weighted means of each row's tokens (or patches), as one matrix product.

    Returns:
        B,K,W. Where all weights are zero, zeros.
    """
    with _full_precision(tokens_BTW):
        weights_BKT = weights_BKT.to(tokens_BTW)
        total_BK1 = weights_BKT.sum(dim=2, keepdim=True)
        return torch.bmm(weights_BKT / total_BK1.masked_fill(total_BK1 == 0, 1), tokens_BTW)


def token_similarity(
    pooled_BD: torch.Tensor,
    local_BD: torch.Tensor,
    valid_B: torch.Tensor | None = None,
    *,
    weight_B: torch.Tensor | None = None,
    target: Literal["diagonal", "matrix"] = "diagonal",
    stop_gradient: bool = False,
) -> torch.Tensor:
    """One modality's token similarity loss: pools of the whole against embeddings of the region or sentence alone.

    Args:
        pooled_BD: projected pools of the whole images' patches, or of the whole captions' tokens.
        local_BD: embeddings of the regions, or of the sentences.
        valid_B: true where the row has a pair and its tokens are in sight. None: all.
        weight_B: how much each row counts in the mean. None: all the same.
        target: `diagonal`: mean of (cos - 1)^2 over the pairs, as the released code does; `matrix`: mean of squared
            differences between all V x V similarities of valid rows and the identity, as equation 14 is written.
        stop_gradient: treat `local_BD` as given, so that only the whole image (caption) learns from this term.

    Returns:
        Scalar; 0 when no row is valid.
    """
    local_BD = local_BD.detach() if stop_gradient else local_BD
    with _full_precision(pooled_BD):
        if target == "diagonal":
            valid_B = _valid(valid_B, pooled_BD)
            return _mean(((pooled_BD * local_BD).sum(dim=1) - 1) ** 2, valid_B, weight_B)
        similarity_BB = pooled_BD @ local_BD.T
        valid_B = _valid(valid_B, similarity_BB)
        valid_BB = valid_B[:, None] & valid_B
        loss_BB = (similarity_BB - torch.eye(len(similarity_BB)).to(similarity_BB)) ** 2
        return _mean(loss_BB, valid_BB, None if weight_B is None else weight_B[:, None] * weight_B)


def _mean(loss: torch.Tensor, valid: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Weighted mean over what is valid; 0, with a gradient of 0, if that has no weight."""
    share = valid.to(loss) if weight is None else valid * weight.to(loss)
    total = share.sum()
    return (loss * share).sum() / total.masked_fill(total == 0, 1)


def _valid(valid_B: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    if valid_B is None:
        return torch.ones(len(like), dtype=torch.bool, device=like.device)
    return valid_B.to(device=like.device, dtype=torch.bool)


def _full_precision(like: torch.Tensor) -> torch.autocast:
    """No autocast in here: at a scale of 100, bfloat16 similarities are wrong by whole logits."""
    return torch.autocast(like.device.type, enabled=False)
