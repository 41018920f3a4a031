"""Cached gradients: the gradient of a whole batch in the memory of a part of it.

A contrastive loss compares all samples of a batch, but only as rows of a few small matrices. So a step has three parts:

    (a) encode the batch part by part, keeping nothing but these rows;
    (b) the loss terms of all rows together, and their gradient with respect to each row (the cache);
    (c) encode each part again, now for its gradient, and send the cached one of its rows through it.

By the chain rule the sum over the parts is the gradient of the whole batch, of every loss term: each sees the towers
through `Features` alone. The price is a second run of the towers forward. Where they draw random numbers (dropout), (c)
draws those of (a).

Source: Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (arXiv 2101.06983).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.batches import Batch
from fastgoal.training.encoding import Encoding, Features, joined
from fastgoal.training.objective import Objective
from fastgoal.training.team import ALONE, Team


class CachedStep:
    """One step: `terms`, then `backward` of their loss.

    Args:
        batch: this rank's share, on any device; its parts go to the encoder's one by one.
        micro_batch: samples of a part.
        model: from batches to features; default: `Encoding`. With a method `no_sync`, gradients go between processes
            with the last part only.
        team: those who encode the rest of the batch, each in as many parts as the one with most to do.
    """

    def __init__(
        self,
        objective: Objective,
        encoder: DualEncoder,
        batch: Batch,
        micro_batch: int,
        *,
        model: nn.Module | None = None,
        team: Team = ALONE,
    ) -> None:
        self._objective, self._encoder, self._batch, self._micro_batch = objective, encoder, batch, micro_batch
        self._model, self._team = model or Encoding(encoder, objective.weights), team
        self._seen: list[_Seen] = []

    def terms(self) -> Mapping[str, torch.Tensor]:
        """What `Objective` says of the whole batch; the gradient of `loss` ends at the features."""
        parts = max(self._team.all(-(-len(self._batch.ids) // self._micro_batch)))
        self._seen = [self._look(part * self._micro_batch) for part in range(parts)]
        features = joined([seen.features for seen in self._seen])
        return self._objective.terms(self._encoder, features, self._batch.belonging, self._team)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of `loss` (of `terms`, scaled or not) to that of every parameter."""
        torch.autograd.backward(loss)
        for seen in self._seen:
            with nullcontext() if seen is self._seen[-1] else _unsynchronised(self._model), seen.drawn.again():
                _pass_on(self._encode(seen.start), seen.features)

    @torch.no_grad()
    def _look(self, start: int) -> "_Seen":
        drawn = RandomState(self._encoder.device)
        return _Seen(start=start, drawn=drawn, features=_leaves(self._encode(start)))

    def _encode(self, start: int) -> Features:
        """Cut anew each time: the parts of a large batch would be a copy of it."""
        padded = self._encoder.traits.pads_to_limit
        part = self._batch.part(start, start + self._micro_batch, pad_to_limit=padded).to(self._encoder.device)
        features: Features = self._model(part)
        return features


def _unsynchronised(model: nn.Module) -> AbstractContextManager[None]:
    no_sync = getattr(model, "no_sync", nullcontext)
    return no_sync()


class RandomState:
    """Where the random numbers of the CPU and of `device` stand now."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._cpu = device, torch.get_rng_state()
        self._module = None if device.type == "cpu" else torch.get_device_module(device)
        self._which = () if device.type == "mps" else (device,)  # there is only one mps, and it takes no name
        self._own = None if self._module is None else self._module.get_rng_state(*self._which)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the same numbers are drawn again; afterwards all goes on as if nothing had been drawn."""
        now = RandomState(self._device)
        self._restore()
        try:
            yield
        finally:
            now._restore()

    def _restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._module is not None:
            self._module.set_rng_state(self._own, *self._which)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """The part from sample `start` on: what was drawn for it, and its features as leaves, whose `grad` is the cache."""

    start: int
    drawn: RandomState
    features: Features


def _leaves(features: Features) -> Features:
    rows = {name: row.requires_grad_() for name, row in vars(features).items() if row is not None}
    return Features(**rows)


def _pass_on(features: Features, leaves: Features) -> None:
    """Send the gradient of the leaves through the features that they are copies of, as far as anything there learns."""
    pairs = zip(vars(features).values(), vars(leaves).values(), strict=True)
    present = [(row, leaf.grad) for row, leaf in pairs if row is not None and row.requires_grad]
    known = [(row, gradient) for row, gradient in present if gradient is not None]
    if known:
        torch.autograd.backward([row for row, _ in known], [gradient for _, gradient in known])
