"""What sets one family of dual encoders apart from another, as far as anything outside its module has to know."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a family can do and how it was trained.

    title: what people call it.
    projects_parts: whether pooled patches and tokens can go through the projections into the joint space, as the token
        similarity loss and localisation need.
    stretches: whether its text positions can be drawn apart or cut.
    pads_to_limit: whether texts are padded to the text limit always, rather than to the longest of their batch.
    loss: the contrastive loss it was pre-trained with.
    max_logit_scale: the bound of the learned scale in training; None where the family has none.
    """

    title: str
    projects_parts: bool
    stretches: bool
    pads_to_limit: bool
    loss: Literal["softmax", "sigmoid"]
    max_logit_scale: float | None
