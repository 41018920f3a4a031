"""The loss terms of a batch, from its features: `Encoding` makes them, `terms` weighs them.

Between the two stand the `Features`, a few small matrices in the joint space: all that the terms see of a batch besides
what belongs together. That is what lets `cached` encode it piece by piece, and several processes (`team`) each a share
of it. Losses are float32.

Shapes: B samples, V local pairs, D joint dimensions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from fastgoal.losses import LossWeights, caption_hardness, info_nce, sigmoid_loss, token_similarity
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.batches import Batch
from fastgoal.training.belonging import Belonging
from fastgoal.training.encoding import Encoding, Features
from fastgoal.training.team import ALONE, Team


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weighted sum of the loss terms, with its options (see `TrainConfig`)."""

    weights: LossWeights
    tsl_target: Literal["diagonal", "matrix"] = "diagonal"
    tsl_stop_gradient: bool = False
    hard_negatives: float = 0.0

    def __call__(
        self, encoder: DualEncoder, batch: Batch, *, dtype: torch.dtype | None = None
    ) -> Mapping[str, torch.Tensor]:
        """The `terms` of a batch that is encoded as a whole, by this process alone."""
        return self.terms(encoder, Encoding(encoder, self.weights, dtype)(batch), batch.belonging)

    def terms(
        self, encoder: DualEncoder, features: Features, belonging: Belonging, team: Team = ALONE
    ) -> Mapping[str, torch.Tensor]:
        """Scalars by name: `loss`, and the unweighted `global`, `local` and `tsl` that have a weight, of what all ranks
        of the team have together. `loss` carries the gradient.

        Args:
            encoder: gives the scale (and bias) of the similarities.
            features, belonging: of this rank's share of the batch.
        """
        features, belonging = of_all(features, belonging, team)
        terms: dict[str, torch.Tensor] = {}
        if self.weights.global_:
            terms["global"] = self._global(encoder, features, belonging)
        if self.weights.local:
            terms["local"] = self._local(encoder, features, belonging)
        if self.weights.tsl:
            terms["tsl"] = self._tsl(features, belonging)
        weight_of = {"global": self.weights.global_, "local": self.weights.local, "tsl": self.weights.tsl}
        return {"loss": torch.stack([weight_of[name] * term for name, term in terms.items()]).sum(), **terms}

    def _global(self, encoder: DualEncoder, features: Features, belonging: Belonging) -> torch.Tensor:
        whole_BD, caption_BD = features.whole_BD, features.caption_BD
        assert whole_BD is not None and caption_BD is not None
        options = {"harder_BB": caption_hardness(caption_BD, self.hard_negatives)} if self.hard_negatives else {}
        return contrast(encoder, whole_BD, caption_BD, belonging.same_samples(whole_BD.device), **options)

    def _local(self, encoder: DualEncoder, features: Features, belonging: Belonging) -> torch.Tensor:
        crop_VD, sentence_VD = features.crop_VD, features.sentence_VD
        assert crop_VD is not None and sentence_VD is not None
        weight_V, same_VV = torch.from_numpy(belonging.weight_V), belonging.same_pairs(crop_VD.device)
        return contrast(encoder, crop_VD, sentence_VD, same_VV, weight_B=weight_V.to(crop_VD.device))

    def _tsl(self, features: Features, belonging: Belonging) -> torch.Tensor:
        """Both modalities; each is a mean over the pairs whose region (sentence) is still within the model's sight."""
        both = (
            (features.patch_VD, features.crop_VD, belonging.region_seen_V),
            (features.token_VD, features.sentence_VD, belonging.sentence_seen_V),
        )
        terms = []
        for pooled_VD, local_VD, seen_V in both:
            assert pooled_VD is not None and local_VD is not None
            terms.append(
                token_similarity(
                    pooled_VD,
                    local_VD,
                    torch.from_numpy(seen_V),
                    weight_B=torch.from_numpy(belonging.weight_V).to(pooled_VD.device),
                    target=self.tsl_target,
                    stop_gradient=self.tsl_stop_gradient,
                )
            )
        return terms[0] + terms[1]


def of_all(features: Features, belonging: Belonging, team: Team) -> tuple[Features, Belonging]:
    """What all ranks of a team have, in the order of the ranks; the own rows carry the gradient."""
    if team.size == 1:
        return features, belonging
    parts = team.all(belonging)
    samples, pairs = [len(part.image_B) for part in parts], [len(part.shown_V) for part in parts]
    counts = {"whole_BD": samples, "caption_BD": samples}
    rows = {name: team.rows(row, counts.get(name, pairs)) for name, row in vars(features).items() if row is not None}
    return Features(**rows), Belonging.joined(parts)


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
