"""Models on their device, what is said where it is not there, and the memory that was needed."""

import sys
from pathlib import Path
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


def peak_memory(device: torch.device | str = "cpu") -> float:
    """MiB at most so far: allocated on the GPU, or resident in this process (0 where the system does not tell).

    On Linux not by `getrusage`: that counts the memory of the process that started this one.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return 0.0
    import resource  # not there on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)
