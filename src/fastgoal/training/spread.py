"""The encoder over several processes: copied (DDP) or sharded (FSDP2).

Copied, every rank holds the whole model and gradients are averaged while backward runs. Sharded, every rank keeps a
part of each weight, of its gradient and of the optimiser's moments, and layers are put together one at a time; what
leaves the run is a plain model all the same, and a checkpoint holds whole tensors, so any number of ranks can go on
from it.

The scale and bias of the similarities belong to the loss, which every rank computes in full; they stay out of both and
are averaged by the loop (FSDP2 cannot shard a number anyway).

Source: Zhao et al. 2023, PyTorch FSDP (arXiv 2304.11277); torch's `fully_shard`.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers.modeling_layers import GradientCheckpointingLayer

from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.training.encoding import Encoding
from fastgoal.training.team import Team

_WHOLE = StateDictOptions(full_state_dict=True)


def scalars(encoder: DualEncoder) -> dict[str, nn.Parameter]:
    """Parameters that the loss uses itself, by name within the encoder."""
    return {name: p for name, p in encoder.named_parameters() if name in ("model.logit_scale", "model.logit_bias")}


def copied(encoding: Encoding, team: Team) -> nn.Module:
    """The encoding with gradients averaged over the ranks, or as it is in a team of one."""
    if team.size == 1:
        return encoding
    ignored = [f"encoder.{name}" for name in scalars(encoding.encoder)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(encoding, ignored)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the new name of `broadcast_buffers` is younger than torch 2.6
        return DistributedDataParallel(encoding, broadcast_buffers=False, gradient_as_bucket_view=True)


class Sharded(Encoding):
    """An `Encoding` whose encoder `shard` has cut up."""

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients stay with the rank that computed them."""
        assert isinstance(self, FSDPModule)
        self.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.set_requires_gradient_sync(True)


def sharded(encoding: Encoding, team: Team) -> Sharded:
    """The encoding with the weights of its encoder cut up among the ranks, in place, layer by layer."""
    # Features are parts of one matrix; nothing changes them in place, which is what torch warns of.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    encoder = encoding.encoder
    mesh = init_device_mesh(encoder.device.type, (team.size,))
    for layer in encoder.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer, mesh=mesh)
    whole = Sharded(encoder, encoding.weights, encoding.dtype)
    # Projections are used behind the forward pass of their tower, so what is no layer stays whole until backward.
    fully_shard(whole, mesh=mesh, reshard_after_forward=False, ignored_params=set(scalars(encoder).values()))
    return whole


def whole_weights(encoder: DualEncoder) -> dict[str, Any]:
    """Its state, every tensor whole, on every rank. All ranks must call."""
    return dict(get_model_state_dict(encoder, options=_WHOLE))


def take_weights(encoder: DualEncoder, weights: Mapping[str, torch.Tensor]) -> None:
    """Load such a state into a sharded encoder."""
    set_model_state_dict(encoder, dict(weights), options=_WHOLE)


def whole_moments(encoder: DualEncoder, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimiser's state by the weights' names, every tensor whole. All ranks must call."""
    return dict(get_optimizer_state_dict(encoder, optimizer, options=_WHOLE))


def take_moments(encoder: DualEncoder, optimizer: torch.optim.Optimizer, moments: dict[str, Any]) -> None:
    """Load such a state into the optimiser of a sharded encoder."""
    set_optimizer_state_dict(encoder, optimizer, moments, options=_WHOLE)


def whole_copy(encoder: DualEncoder) -> DualEncoder:
    """A sharded encoder as a plain one, for inference and for saving. All ranks must call."""
    prefix, device = "model.", encoder.device
    weights = {name.removeprefix(prefix): value for name, value in whole_weights(encoder).items()}
    model = type(encoder.model)(encoder.model.config).to(device)
    model.load_state_dict(weights)
    return DualEncoder(model, encoder.tokenizer, encoder.image_processor, name=encoder.name).eval()
