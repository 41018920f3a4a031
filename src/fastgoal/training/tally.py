"""Sums over the batches of a run, for its history and its report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from fastgoal.training.batches import Batch
from fastgoal.training.left_out import Count


@dataclass
class Tally:
    """Sums since the last line of the history, and counts since the start."""

    terms: dict[str, torch.Tensor]
    batches: int = 0
    samples: int = 0
    seen: int = 0
    unpaired: int = 0
    hidden_sentences: int = 0
    hidden_regions: int = 0
    passed_over: int = 0
    left_out: Count = field(default_factory=Count)

    def add(self, batch: Batch, terms: Mapping[str, torch.Tensor]) -> None:
        """Tensors stay on their device: reading them here would wait for it in every step."""
        for name, term in terms.items():
            self.terms[name] = self.terms[name] + term.detach() if name in self.terms else term.detach()
        self.batches += 1
        self.samples += len(batch.ids)
        self.seen += len(batch.ids)
        self.unpaired += len(batch.ids) - batch.paired
        self.hidden_sentences += batch.hidden_sentences
        self.hidden_regions += batch.hidden_regions
        self.passed_over += batch.passed_over

    def sums(self) -> dict[str, Any]:
        """The sums since the last call of `means`, as JSON: floats come back from it as they were."""
        return {"terms": {name: float(total) for name, total in self.terms.items()}, "batches": self.batches}

    def take(self, sums: Mapping[str, Any]) -> None:
        """Go on from such sums."""
        self.terms = {name: torch.tensor(total) for name, total in sums["terms"].items()}
        self.batches = sums["batches"]

    def means(self) -> dict[str, float]:
        """The mean of each term since the last call."""
        means = {name: float(total) / self.batches for name, total in self.terms.items()}
        self.terms, self.batches, self.samples = {}, 0, 0
        return means
