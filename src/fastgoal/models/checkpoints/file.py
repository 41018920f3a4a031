"""A checkpoint file as weights by key, without running any code that it may hold.

safetensors, and what `torch.save` wrote: read with `weights_only=True`, memory-mapped where it is an archive, so that
an optimizer's state beside the weights costs no memory. A state dict inside of a training checkpoint is found, and
what wrappers put before all keys (`module.` and the like) is taken off.
"""

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fastgoal.errors import ModelError, first_line

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net")
"""Under which names training checkpoints hold a state dict, in the order of looking."""
PREFIXES = ("module.", "_orig_mod.", "_forward_module.", "model.")
WHOLE = "Copy or download the file again"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The weights of a file by key. wrapper: the name they stood under in it, or None."""

    path: Path
    weights: Mapping[str, torch.Tensor]
    wrapper: str | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file.

    Raises:
        ModelError: no such file, a broken one, a TorchScript archive, pickled code, or no state dict in it.
    """
    if not path.is_file():
        what = "this is a folder, not a checkpoint file" if path.is_dir() else "there is no such checkpoint file"
        mend = "Name the file with the weights; a transformers folder needs no conversion"
        raise ModelError(what, where=path, mend=mend)
    weights, wrapper = _state_dict(_load(path), path)
    other = next((key for key, value in weights.items() if not isinstance(value, torch.Tensor)), None)
    if other is not None:
        what = f"'{other}' in its state dict is a {type(weights[other]).__name__}, not a tensor"
        raise ModelError(what, where=path, mend="Save a state dict that holds weights only")
    return Checkpoint(path=path, weights=_without_prefix(weights), wrapper=wrapper)


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        zipped = zipfile.is_zipfile(path)
        if zipped and _is_torchscript(path):
            raise ModelError("a TorchScript archive, which is code", where=path, mend=_script_mend(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a pickle is of another protocol; if it cannot be read, we say so
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except ModelError:
        raise
    except SafetensorError as error:
        raise ModelError(f"not a whole safetensors file ({error})", where=path, mend=WHOLE) from None
    except Exception as error:  # whatever a broken file makes torch raise, the file is at fault
        raise _unreadable(error, path) from None


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        inside = [name.partition("/")[2] for name in archive.namelist()]
    return "constants.pkl" in inside and any(name.startswith("code/") for name in inside)


def _script_mend(path: Path) -> str:
    new = path.with_name(f"{path.stem}-weights.pt")
    load = f"torch.jit.load('{path}', map_location='cpu')"
    return (
        "Where you trust the file, save its weights alone and convert those: "
        f"python -c \"import torch; torch.save({load}.state_dict(), '{new}')\""
    )


def _unreadable(error: Exception, path: Path) -> ModelError:
    reason = first_line(error)
    if "weights only load failed" in reason.lower() and _has_pickle(path):
        mend = "Where you trust the file, save its state dict alone: torch.load it with weights_only=False elsewhere"
        return ModelError("it holds pickled Python objects besides tensors, which may run code", where=path, mend=mend)
    return ModelError("not a whole checkpoint of torch.save or safetensors", where=path, mend=WHOLE)


def _has_pickle(path: Path) -> bool:
    """Whether the file is an archive of `torch.save`, or begins as a pickle of protocol 2 or later and ends as one."""
    if zipfile.is_zipfile(path):
        return True
    with path.open("rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _state_dict(loaded: Any, path: Path) -> tuple[Mapping[str, Any], str | None]:
    """The mapping that holds tensors: the file itself or what stands under one of the usual names."""
    if isinstance(loaded, Mapping):
        for name in WRAPPERS:
            if _holds_tensors(loaded.get(name)):
                return loaded[name], name
        if _holds_tensors(loaded):
            return loaded, None
        what = f"no state dict in it; it has: {', '.join(map(str, list(loaded)[:8])) or 'nothing'}"
    else:
        what = f"no state dict in it, but a {type(loaded).__name__}"
    raise ModelError(what, where=path, mend=f"Save the state dict itself, or under '{WRAPPERS[0]}'")


def _holds_tensors(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(item, torch.Tensor) for item in value.values())
    )


def _without_prefix(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keys without what wrappers (DDP, torch.compile, Fabric) put before every one of them."""
    bare = dict(weights)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in bare)), None):
        bare = {key.removeprefix(prefix): value for key, value in bare.items()}
    return bare
