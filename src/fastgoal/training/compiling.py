"""torch.compile around the towers, for the time of a training.

What is compiled is the image tower and the transformer of the text tower, in place: the modules stay what they are, so
the names of the weights, the fingerprint, adapters and all that is saved know nothing of it. Losses, pooling and
projections of pooled parts are too small to gain.

The number of graphs is bounded. Batches differ in their number of crops, and texts in their length, so sizes are
symbols from the start (`dynamic=True`): one graph serves every length and every number of items but 1, which torch
treats by itself. A size of the first batch that equals another one by chance is taken for a rule at first, and costs
one graph more. That is at most three per tower, and as many again for validation, which asks for no gradients. Texts
are therefore not padded to a few lengths, which would make a graph of each length for each number of items.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from fastgoal.errors import ConfigError, first_line
from fastgoal.models.dual_encoder import DualEncoder

BACKEND: str | Callable[..., Any] = "inductor"
"""What turns a graph into code, as `torch.compile` takes it."""


def compiled(encoder: DualEncoder, wanted: bool) -> contextlib.AbstractContextManager[None]:
    """Inside, the towers run compiled if that is `wanted`; afterwards they are as they were."""
    return _compiled(encoder) if wanted else contextlib.nullcontext()


@contextmanager
def _compiled(encoder: DualEncoder) -> Iterator[None]:
    towers = _towers(encoder)
    try:
        for tower in towers:
            tower.compile(backend=BACKEND, dynamic=True)
        yield
    finally:
        for tower in towers:
            tower._compiled_call_impl = None
        torch.compiler.reset()  # the graphs of this run would count towards the limit of the next


def _towers(encoder: DualEncoder) -> list[nn.Module]:
    """The two modules that do nearly all the work, under the same names in every family."""
    return [encoder.model.vision_model, encoder.model.text_model.encoder]


def expect_compiler(device: torch.device) -> None:
    """Compile one addition, which takes seconds, so that a machine that cannot is told so before training begins.

    Raises:
        ConfigError: it fails.
    """
    try:
        torch.compile(_plus_one, backend=BACKEND)(torch.zeros(2, device=device))
    except Exception as error:  # a compiler that is missing, too old, or without Python's headers: each has its own
        needs = "Triton" if device.type == "cuda" else "a C++ compiler such as g++"
        reason = first_line(getattr(error, "inner_exception", error))  # torch's own begins with the backend's name
        what = f"torch.compile does not work here ({reason})"
        raise ConfigError(what, where="compile", mend=f"Install {needs}, or set compile to false.") from error


def _plus_one(x: torch.Tensor) -> torch.Tensor:
    return x + 1
