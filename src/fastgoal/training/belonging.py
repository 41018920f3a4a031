"""What the loss terms know of the rows of a batch besides their features: what belongs together, how much it counts.

Two samples that show the same image or say the same are no negatives of each other, wherever in a batch they are, so
images and texts are told apart by keys that mean the same in every process.

Shapes: B samples, V local pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

from fastgoal.training.order import Keys


@dataclass(frozen=True, kw_only=True)
class Belonging:
    """Of the samples and local pairs of a batch, in its order. On the CPU: it goes from process to process.

    image_B, caption_B: keys of each sample's image and caption. shown_V, sentence_V: of what each pair's crop shows and
    its sentence says. weight_V: how much each pair counts, together 1 for each sample. region_seen_V, sentence_seen_V:
    whether anything of the region (sentence) is within the model's sight.
    """

    image_B: Keys
    caption_B: Keys
    shown_V: Keys
    sentence_V: Keys
    weight_V: npt.NDArray[np.float32]
    region_seen_V: npt.NDArray[np.bool_]
    sentence_seen_V: npt.NDArray[np.bool_]

    def part(self, samples: slice, pairs: slice) -> "Belonging":
        """Of consecutive samples, and of their pairs."""
        return Belonging(**{name: own[samples if name.endswith("_B") else pairs] for name, own in vars(self).items()})

    @classmethod
    def joined(cls, parts: Sequence["Belonging"]) -> "Belonging":
        """Of several batches as one."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def same_samples(self, device: torch.device) -> torch.Tensor | None:
        """B x B, true where two samples are no negatives of each other; None if that is nowhere."""
        return _same(self.image_B, self.caption_B, device)

    def same_pairs(self, device: torch.device) -> torch.Tensor | None:
        """V x V, the same of local pairs."""
        return _same(self.shown_V, self.sentence_V, device)


def _same(shown_N: Keys, said_N: Keys, device: torch.device) -> torch.Tensor | None:
    if all(len(np.unique(keys)) == len(keys) for keys in (shown_N, said_N)):
        return None
    same_NN = torch.zeros(len(shown_N), len(shown_N), dtype=torch.bool, device=device)
    for keys_N in (shown_N, said_N):
        own_N = torch.from_numpy(keys_N.view(np.int64)).to(device)
        same_NN |= own_N[:, None] == own_N
    return same_NN.fill_diagonal_(False)
