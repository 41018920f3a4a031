"""Pickles of plain data, read without running anything that they ask for.

A pickle is a program: it may name any function and have it called. Published data sets come as pickles all the same
(CIFAR). The one idea: every name that a pickle may look up is answered by a stand-in of ours, which can do nothing but
put a uint8 array together from its bytes; any other name is refused. So numpy itself is never called by the file.

Source: the pickle protocol's description in CPython's `pickletools`; numpy's `ndarray.__reduce__`.
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgoal.errors import DataError

MOST_BYTES = 1 << 30
"""Largest file read; CIFAR's largest has 155 MB."""


def read_pickle(path: Path) -> dict[str, Any]:
    """A pickled dict of texts, bytes, numbers, lists, dicts and uint8 arrays; its keys as texts.

    Raises:
        DataError: not there, damaged, of anything else, or asking for code to be run.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"larger than {MOST_BYTES:,} bytes", where=path, mend="Give the published file.")
        content = path.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise DataError(what, where=path, mend="Download and unpack the data again.") from None
    try:
        value = _plain(_Plain(io.BytesIO(content), encoding="bytes").load())
    except _RefusedError as refused:
        mend = "It is not the published file, and may be malicious; download it again."
        raise DataError(f"the pickle asks for {refused}, which plain data does not", where=path, mend=mend) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        what = f"not a pickle of plain data ({type(error).__name__})"
        raise DataError(what, where=path, mend="Download and unpack the data again.") from None
    if not isinstance(value, dict):
        raise DataError("not a pickled dict", where=path, mend="Give the published file.")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): item for key, item in value.items()}


class _RefusedError(Exception):
    """A name that no stand-in answers."""


class _Array:
    """Stands in for `numpy.ndarray`: takes the state that numpy pickles, and is made an array in the end."""

    __slots__ = ("array",)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        self.array = _uint8(content, kind, shape, "F" if fortran else "C")


class _Kind:
    """Stands in for `numpy.dtype`."""

    __slots__ = ("code",)

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode() if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Byte order and such, which mean nothing to bytes."""


class _Reconstruct:
    """Stands in for `numpy.core.multiarray._reconstruct`."""

    __slots__ = ()

    def __call__(self, *_: Any) -> _Array:
        return _Array()


class _FromBuffer:
    """Stands in for numpy's `_frombuffer`, by which pickles of protocol 5 make arrays."""

    __slots__ = ()

    def __call__(self, content: Any, kind: Any, shape: Any, order: Any) -> _Array:
        made = _Array()
        made.array = _uint8(content, kind, shape, order)
        return made


class _Encode:
    """Stands in for `_codecs.encode` and `bytes`, by which old protocols write bytes and no bytes."""

    __slots__ = ()

    def __call__(self, text: str = "", encoding: str = "latin1") -> bytes:
        return text.encode("latin-1")


def _uint8(content: Any, kind: Any, shape: Any, order: Any) -> npt.NDArray[np.uint8]:
    if not isinstance(kind, _Kind) or kind.code not in ("u1", "|u1", "uint8"):
        raise _RefusedError("an array of other numbers than uint8")
    sizes = tuple(int(size) for size in shape)
    if len(sizes) > 4 or min(sizes, default=0) < 0 or math.prod(sizes) != len(content):
        raise ValueError("bytes and shape of an array do not agree")
    return np.frombuffer(bytes(content), np.uint8).reshape(sizes, order="F" if order == "F" else "C")


_STAND_INS = {
    ("numpy", "ndarray"): lambda: _Array,
    ("numpy", "dtype"): lambda: _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
    ("_codecs", "encode"): _Encode,
    ("__builtin__", "bytes"): _Encode,
}


class _Plain(pickle._Unpickler):
    """Python's own unpickler in Python: the one in C sets aside as much memory as a damaged memo index says."""

    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise _RefusedError(f"{module}.{name}")
        return stand_in()

    def persistent_load(self, _: Any) -> Any:
        raise _RefusedError("an object outside the file")

    def get_extension(self, code: int) -> Any:
        raise _RefusedError(f"the registered function {code}")


def _plain(value: Any) -> Any:
    """The value with arrays in the place of stand-ins, one level deep: that is where the published files have them."""
    if isinstance(value, dict):
        return {key: _plain(item) if isinstance(item, _Array) else item for key, item in value.items()}
    return value.array if isinstance(value, _Array) else value
