"""Gradients by name, and what autograd keeps for them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

Gradients = dict[str, torch.Tensor]


def gradients(module: nn.Module, backward: Callable[[], None]) -> Gradients:
    """Of every parameter that `backward` reaches."""
    module.zero_grad()
    backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def assert_gradients(found: Gradients, wanted: Gradients, *, within: float) -> None:
    """Equal within a share of each value and of the largest of all: the gradient of a key's bias is rounding alone."""
    assert found.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert largest > 0
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=within, atol=within * largest, msg=lambda text, name=name: f"{name}: {text}"
        )


class Kept:
    """Bytes that autograd keeps for backward, `now` and at their `peak`; a storage counts once, a weight never."""

    def __init__(self, weights: nn.Module) -> None:
        self.now = self.peak = 0
        self._uses: Counter[int] = Counter()
        self._weights = {p.untyped_storage().data_ptr() for p in weights.parameters()}

    def hold(self, tensor: torch.Tensor) -> None:
        place = tensor.untyped_storage()
        if place.data_ptr() not in self._weights:
            self._uses[place.data_ptr()] += 1
            self.now += place.nbytes() if self._uses[place.data_ptr()] == 1 else 0
            self.peak = max(self.peak, self.now)

    def release(self, tensor: torch.Tensor) -> None:
        place = tensor.untyped_storage()
        if place.data_ptr() not in self._weights:
            self._uses[place.data_ptr()] -= 1
            self.now -= place.nbytes() if self._uses[place.data_ptr()] == 0 else 0


class _Held:
    def __init__(self, tensor: torch.Tensor, kept: Kept) -> None:
        self.tensor, self._kept = tensor, kept
        kept.hold(tensor)

    def __del__(self) -> None:
        self._kept.release(self.tensor)


@contextmanager
def kept_for_backward(weights: nn.Module) -> Iterator[Kept]:
    kept = Kept(weights)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _Held(tensor, kept), lambda held: held.tensor):
        yield kept
