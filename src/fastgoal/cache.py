"""Embeddings made before, by content and model: matching again with other settings encodes nothing again.

    CACHE/MODEL/part-NAME.safetensors     keys (N x 16 bytes) and rows (N x D float32); never changed once it is there

MODEL is the encoder's fingerprint, so another model's rows are never found. A key is a hash of what was encoded: of a
text, or of an image file's bytes and a box. Parts are written aside and renamed under names of their own, so a kill
loses the part that was being written, and several processes may fill one cache at once (what two of them encode is
there twice). The last bits of an embedding depend on what it was encoded with; matching from a full cache gives the
table of the run that filled it, byte for byte. A part that cannot be read is left out and named; its content is encoded
again.

In memory stand the keys, 24 bytes each, and the parts that were read last.

Shapes: N rows of a part, K keys asked for, D joint dimensions.
"""

import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from fastgoal.errors import DataError
from fastgoal.files import ASIDE, make_folder, staged, writing
from fastgoal.geometry import Box

Floats = npt.NDArray[np.float32]
_PLACES = 1 << 32
"""A place is its part's number times this, plus its row."""
_STALE = 3600
"""Seconds after which nobody writes a part any more."""
_READ = 4
"""Parts that stay in memory; a shard's rows are mostly in one."""


def text_key(text: str) -> bytes:
    """What a text is kept under."""
    return blake2b(b"text\0" + text.encode(), digest_size=16).digest()


def view_keys(image: bytes, boxes: Sequence[Box | None]) -> list[bytes]:
    """What views of an image are kept under.

    Args:
        image: the file's bytes.
        boxes: crops, in pixels of the upright image; None is the whole.
    """
    whole = blake2b(image, digest_size=16).digest()
    corners = [np.array(box if box is not None else (), np.float64).tobytes() for box in boxes]
    return [blake2b(b"view\0" + whole + own, digest_size=16).digest() for own in corners]


class EmbeddingCache:
    """The embeddings of one model under a folder.

    `found` and `made` count the rows that came from it and that were added.

    Args:
        folder: of the cache, for any number of models; created if absent.
        model: the encoder's fingerprint.
        dim: its joint dimensions D.

    Raises:
        DataError: the folder is a file, or the disk refuses.
    """

    def __init__(self, folder: str | Path, model: str, dim: int) -> None:
        self.folder, self.dim, self.found, self.made = Path(folder) / model, dim, 0, 0
        if Path(folder).is_file():
            raise DataError("a file has this name", where=folder, mend="Choose another folder for --cache.")
        make_folder(self.folder)
        _sweep(self.folder)
        self._parts: list[Path] = []
        self._new: dict[bytes, int] = {}
        self._read = lru_cache(_READ)(lambda part: load_file(self._parts[part])["rows"])
        self._high_N, self._low_N, self._place_N = self._index()

    def __len__(self) -> int:
        return len(self._place_N) + len(self._new)

    def find(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Where the row of each key is, for `rows`; -1 where there is none. Several threads may ask."""
        high_K, low_K = _halves(np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16))
        at_K = np.minimum(np.searchsorted(self._high_N, high_K), max(0, len(self._high_N) - 1))
        place_K = np.full(len(keys), -1, np.int64)
        if len(self._high_N):
            same_K = (self._high_N[at_K] == high_K) & (self._low_N[at_K] == low_K)
            place_K[same_K] = self._place_N[at_K[same_K]]
        for i in np.flatnonzero(place_K < 0).tolist():
            place_K[i] = self._new.get(keys[i], -1)
        return place_K

    def rows(self, place_K: npt.NDArray[np.int64]) -> Floats:
        """The rows at places that `find` gave, K x D."""
        rows_KD = np.empty((len(place_K), self.dim), np.float32)
        part_K = place_K // _PLACES
        for part in np.unique(part_K):
            mine_K = part_K == part
            rows_KD[mine_K] = self._read(int(part))[place_K[mine_K] % _PLACES]
        self.found += len(place_K)
        return rows_KD

    def add(self, keys: Sequence[bytes], rows_ND: Floats) -> None:
        """Keep rows, as one part.

        Raises:
            DataError: the disk refuses.
        """
        if not keys:
            return
        path = self.folder / f"part-{uuid.uuid4().hex}.safetensors"
        content = {"keys": np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16), "rows": rows_ND}
        with writing(path), staged(path) as aside:
            try:
                save_file(content, aside)
            except SafetensorError as error:
                raise OSError(str(error)) from error
        self._new.update({key: len(self._parts) * _PLACES + row for row, key in enumerate(keys)})
        self._parts.append(path)
        self.made += len(keys)

    def filled(self, keys: Sequence[bytes], place_K: npt.NDArray[np.int64], fresh_MD: Floats) -> Floats:
        """The rows of all keys, K x D: those at a place from here, the M others, in order, from `fresh_MD`, which is
        kept."""
        rows_KD, new_K = np.empty((len(keys), self.dim), np.float32), place_K < 0
        rows_KD[~new_K], rows_KD[new_K] = self.rows(place_K[~new_K]), fresh_MD
        self.add([key for key, new in zip(keys, new_K, strict=True) if new], fresh_MD)
        return rows_KD

    def _index(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The keys of all parts that can be read, sorted by their first halves, and their places."""
        keys, places = [np.empty((0, 16), np.uint8)], [np.empty(0, np.int64)]
        for path in sorted(self.folder.glob("part-*.safetensors")):
            try:
                part = _keys_of(path, self.dim)
            except (SafetensorError, OSError, KeyError, ValueError) as error:
                print(f"left out of the cache: {path} ({error})", file=sys.stderr)
                continue
            places.append(len(self._parts) * _PLACES + np.arange(len(part), dtype=np.int64))
            keys.append(part)
            self._parts.append(path)
        high_N, low_N = _halves(np.concatenate(keys))
        order_N = np.argsort(high_N, kind="stable")
        return high_N[order_N], low_N[order_N], np.concatenate(places)[order_N]


def _sweep(folder: Path) -> None:
    """Delete what kills left half written, unless it is so young that another process may be at it."""
    for path in folder.glob(f"part-*{ASIDE}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()


def _keys_of(path: Path, dim: int) -> npt.NDArray[np.uint8]:
    """The keys of a part, without reading its rows."""
    with safe_open(path, framework="np") as part:
        keys_N16: npt.NDArray[np.uint8] = part.get_tensor("keys")
        shape = part.get_slice("rows").get_shape()
    if keys_N16.shape[1:] != (16,) or shape != [len(keys_N16), dim]:
        raise ValueError(f"rows of shape {shape} for {len(keys_N16)} keys")
    return keys_N16


def _halves(keys_N16: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    halves_N2 = np.ascontiguousarray(keys_N16).view("<u8")
    return np.ascontiguousarray(halves_N2[:, 0]), np.ascontiguousarray(halves_N2[:, 1])
