"""Where an image lies: the one place that turns a sample's relative URI into bytes.

    images/a.jpg                   a file under the root
    shard-000.tar#a.jpg            a member of a tar
    train.parquet#image/17         row 17 of column `image` (bytes, or a struct of bytes and path) of a Parquet file
    data-00000.arrow#image/17      the same of an Arrow file, as `datasets` saves them

Tars and Arrow files are read in place. Of a Parquet file whole row groups have to be decoded: in the order of the file
that costs nothing extra, at random it does. Under a remote root, a file is copied to this machine when something of it
is first asked for (see `remote.shelf`).
"""

import os
import re
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastgoal.errors import DataError
from fastgoal.remote.place import Place, Url, place_of
from fastgoal.remote.shelf import known_size, local, opened

_INSIDE = re.compile(r"(?P<file>.+\.(?P<kind>tar|parquet|arrow))#(?P<inside>.+)", re.DOTALL)
_GONE = "Check the path in the data and --root."


class ImageStore:
    """The images under a root. Files are opened when they are first asked for, so a store can go to other processes.

    Args:
        root: the folder that URIs are relative to, here or elsewhere.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = place_of(root)

    def open(self, uri: str) -> Path | bytes:
        """The path of an image that is a file of its own, else its bytes; `read_image` takes either.

        Raises:
            DataError: the file that holds the image, or its place in it, is not there, or cannot be fetched.
        """
        found = _INSIDE.fullmatch(uri)
        if found is None:
            return local(self.root / uri)
        file, inside = self.root / found["file"], found["inside"]
        try:
            if found["kind"] == "tar":
                return opened(file, lambda path: _read_member(path, inside))
            column, _, row = inside.rpartition("/")
            cell = opened(file, lambda path: _read_cell(path, found["kind"], column, int(row)))
        except (OSError, KeyError, IndexError, ValueError, tarfile.TarError, pa.ArrowException) as error:
            raise DataError(f"the image cannot be read ({error})", where=self.root / uri, mend=_GONE) from error
        if isinstance(cell, dict):
            if cell.get("bytes") is None and cell.get("path"):
                return local(self.root / str(cell["path"]))
            cell = cell.get("bytes")
        return cell or b""

    def size(self, uri: str) -> int:
        """Bytes of the file that is or holds the image; -1 if there is none. Tells changed data from unchanged."""
        path = self.file(uri)
        if isinstance(path, Url):
            return known_size(path)
        try:
            return path.stat().st_size if path.is_file() else -1
        except (OSError, ValueError):  # a path that no file can have
            return -1

    def file(self, uri: str) -> Place:
        """The file that is or holds the image."""
        found = _INSIDE.fullmatch(uri)
        return self.root / (uri if found is None else found["file"])


def tar_uri(file: str, member: str) -> str:
    """URI of a tar's member."""
    return f"{file}#{member}"


def cell_uri(file: str, column: str, row: int) -> str:
    """URI of a row of a Parquet or Arrow file."""
    return f"{file}#{column}/{row}"


def open_arrow(path: Path) -> pa.Table:
    """A table of an Arrow file of either kind, mapped into memory rather than read.

    Raises:
        OSError, pyarrow.ArrowException: no such file, or another kind of file.
    """
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


def _read_member(path: Path, member: str) -> bytes:
    handle, places = _tar(path, _state(path))
    offset, size = places[member]
    return os.pread(handle.fileno(), size, offset)


def _read_cell(path: Path, kind: str, column: str, row: int) -> Any:
    if kind == "arrow":
        return _arrow(path, _state(path)).column(column)[row].as_py()
    starts, _ = _parquet(path, _state(path))
    group = max(i for i, start in enumerate(starts) if start <= row)
    return _row_group(path, _state(path), group, column)[row - starts[group]].as_py()


def _state(path: Path) -> tuple[int, int, int]:
    """Tells a file from another one of its name, and one process's opened files from another's."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size, os.getpid()


@lru_cache(maxsize=64)
def _tar(path: Path, state: tuple[int, int, int]) -> tuple[Any, dict[str, tuple[int, int]]]:
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                places[member.name] = member.offset_data, member.size
    except tarfile.ReadError:
        if not places:
            raise  # else the tar is cut off; what comes before is whole
    return path.open("rb"), places


@lru_cache(maxsize=64)
def _arrow(path: Path, state: tuple[int, int, int]) -> pa.Table:
    return open_arrow(path)


@lru_cache(maxsize=64)
def _parquet(path: Path, state: tuple[int, int, int]) -> tuple[list[int], pq.ParquetFile]:
    file = pq.ParquetFile(path, memory_map=True)
    starts = [0]
    for group in range(file.num_row_groups - 1):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    return starts, file


@lru_cache(maxsize=2)
def _row_group(path: Path, state: tuple[int, int, int], group: int, column: str) -> pa.ChunkedArray:
    return _parquet(path, state)[1].read_row_group(group, columns=[column]).column(column)
