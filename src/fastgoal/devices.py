"""Models on their device, and what is said where it is not there."""

from typing import Any, TypeVar

import torch

from fastgoal.errors import ModelError, first_line

Module = TypeVar("Module", bound=Any)
"""A torch module, or what transformers makes of one (whose `to` has no types)."""


def to_device(
    model: Module, device: str | torch.device, *, mend: str = "Use cpu, or install a torch build for it."
) -> Module:
    """The model with its weights on `device`, ready for inference.

    Raises:
        ModelError: the device is not there, or has no room.
    """
    try:
        return model.eval().to(device)  # type: ignore[no-any-return]
    except (AssertionError, RuntimeError) as error:
        what = f"this device cannot be used ({first_line(error)})"
        raise ModelError(what, where=f"device {device}", mend=mend) from error
