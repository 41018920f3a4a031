"""Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): less memory for one more run of the towers forward.

Of each layer of the towers only the input is kept for the way back; what is inside is computed again when its gradient
is due, with the same random numbers. Layers of transformers can do so by themselves, each with a switch of its own;
the model's common switch would also ask for a gradient with respect to its input, which a frozen tower has no use for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from fastgoal.models.dual_encoder import DualEncoder


@contextmanager
def recomputing(encoder: DualEncoder, enabled: bool) -> Iterator[None]:
    """Inside, and if `enabled`, both towers keep their layers' inputs only, whenever they are in training mode."""
    layers = [layer for layer in encoder.modules() if enabled and isinstance(layer, GradientCheckpointingLayer)]
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = False
