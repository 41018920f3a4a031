"""The two tables of an index, and the one place that knows LanceDB.

    images     id, image (URI under the root), width, height, caption, bytes, key, state, vector
    regions    id and key of the image, box, vector

`key` is a hash of an image's id and content, `state` one of what tells whether it has to be looked at again. The one
idea: an image's row says by its key which regions are its own, and it is written after them, in one commit. So at any
moment an image is there with all its regions or not at all; regions whose key no image has are what a kill left, and
nobody's. They are deleted by the next writer, and so are both rows of an image that is there twice.

Every commit is atomic. A writer that finds the table at another version than it left it knows that another one writes.
LanceDB is not fork-safe: a table is opened in the process that uses it.

Shapes: N images, R regions, D joint dimensions.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastgoal.errors import ConfigError, DataError, first_line
from fastgoal.remote.place import Place, Url
from fastgoal.search.lock import ALONE

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
IMAGES, REGIONS = "images", "regions"
COLUMNS = ("id", "image", "width", "height", "caption", "bytes")
"""What a filter may name."""
KEPT = timedelta(hours=1)
"""For how long readers that opened an older version of a table find it, and whose leftovers may still be in use."""
_READ = 4096
"""Rows that are read at a time."""
_FEW = 5000
"""Keys that go into one condition."""
_CODED = 10_000
"""Rows from which vectors are coded: a code book of 256 entries has to be learned from many more than that."""


def images_schema(dim: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("image", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("caption", pa.string()),
            pa.field("bytes", pa.int64(), nullable=False),
            pa.field("key", pa.int64(), nullable=False),
            pa.field("state", pa.int64(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def regions_schema(dim: int) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("key", pa.int64(), nullable=False),
            pa.field("box", pa.list_(pa.float32(), 4), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


class Table:
    """One table: read in batches, written in commits.

    Raises, from every method: DataError where the table is broken, gone, or cannot be written to.
    """

    def __init__(self, table: Any, where: Place) -> None:
        self._table, self.where = table, where

    def __len__(self) -> int:
        return self.count()

    def count(self, where: str | None = None) -> int:
        """Rows, or those that a condition holds for.

        Raises:
            ConfigError: it is no condition on these columns.
        """
        with self._asked(where):
            return int(self._table.count_rows(where))

    @property
    def version(self) -> int:
        return int(self._table.version)

    def batches(self, columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows, or of those that a condition holds for.

        Raises:
            ConfigError: it is no condition on these columns.
        """
        with self._asked(where):
            query = self._table.search().select(list(columns)).limit(None)
            found = (query if where is None else query.where(where)).to_batches(_READ)
        with reading(self.where):
            yield from found

    def read(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """The same as one table."""
        batches = list(self.batches(columns, where))
        return pa.Table.from_batches(batches) if batches else self._table.schema.empty_table().select(list(columns))

    def with_keys(self, keys: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows that have these keys, in no order."""
        parts = [self.read(columns, _among(keys[i : i + _FEW])) for i in range(0, max(len(keys), 1), _FEW)]
        return pa.concat_tables(parts)

    # Writing

    def add(self, rows: pa.Table) -> None:
        """Add rows, in one commit."""
        if len(rows):
            with self._commit():
                self._table.add(rows)

    def put(self, rows: pa.Table) -> None:
        """Add rows, each in the place of the one that has its id, if there is one; in one commit."""
        if len(rows):
            with self._commit():
                self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete_keys(self, keys: Sequence[int]) -> None:
        """Delete the rows that have these keys, some thousand in a commit."""
        for start in range(0, len(keys), _FEW):
            with self._commit():
                self._table.delete(_among(keys[start : start + _FEW]))

    def tidy(self) -> None:
        """Many small commits become few files, the store's own index learns of new rows, and what older versions alone
        need is deleted once nobody can be reading it."""
        with writing_to(self.where):
            self._table.optimize(cleanup_older_than=KEPT, delete_unverified=True)

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """Raises DataError where another writer has committed since our last commit."""
        before = self.version
        with writing_to(self.where):
            self._table.checkout_latest()
            moved = self.version - before
            if not moved:
                yield
                moved = self.version - before - 1
        if moved:
            raise DataError("another process has written to this index meanwhile", where=self.where, mend=ALONE)

    # The store's approximate index

    @property
    def indexed(self) -> bool:
        """Whether there is an approximate index of the vectors."""
        with reading(self.where):
            return any("vector" in index.columns for index in self._table.list_indices())

    def build_ann(self, dim: int) -> None:
        """Make the approximate index anew: the vectors in parts (IVF) by their likeness; where they are many, each in
        some bytes (PQ), by which candidates are found that are then compared by their full vectors."""
        count = len(self)
        parts = max(1, min(4096, round(count**0.5 / 2)))
        with writing_to(self.where):
            self._table.create_index("vector", config=_ann_config(count, parts, dim), replace=True)

    def nearest(
        self, query_D: Floats, count: int, columns: Sequence[str], where: str | None = None, *, probes: int, refine: int
    ) -> pa.Table:
        """The rows nearest to a vector, best first: by the approximate index if there is one, else by all rows.

        Raises:
            ConfigError: no condition on these columns.
        """
        with self._asked(where):
            query = self._table.search(query_D).distance_type("cosine").select(list(columns)).limit(count)
            query = query.nprobes(probes).refine_factor(refine)
            return (query if where is None else query.where(where, prefilter=True)).to_arrow()

    @contextmanager
    def _asked(self, where: str | None) -> Iterator[None]:
        """Reading, by a condition that may be none."""
        with reading(self.where):
            try:
                yield
            except ValueError as error:
                if where is None or "invalid input" not in str(error).lower():
                    raise
                what = f"no condition: {where!r} ({_said(error)})"
                raise ConfigError(what, where="filter", mend=_CONDITION) from error


_CONDITION = f"Write one such as \"width > height AND caption LIKE '%red%'\", in SQL, over {', '.join(COLUMNS)}."
_MEND = "If it was rewritten just now, open it again; else type the `fastgoal index` command again, with --overwrite."


class Tables:
    """Both tables of an index.

    Args:
        index: its folder, here or elsewhere.

    Raises:
        ConfigError: LanceDB is not installed.
        DataError: the store cannot be reached.
    """

    def __init__(self, index: Place) -> None:
        self.index = index
        with reading(index):
            self._base = _import_lancedb().connect(str(index), storage_options=_options(index))

    def open(self, name: str) -> Table:
        """A table that is there.

        Raises:
            DataError: it is not, or is broken.
        """
        where = self.index / f"{name}.lance"
        with reading(where, what=f"the table of {name} is missing or broken", mend=_ANEW):
            return Table(self._base.open_table(name), where)

    def make(self, name: str, schema: pa.Schema) -> Table:
        """The table of this name, made if it is not there.

        Raises:
            DataError: the disk refuses, or what is there is broken.
        """
        try:
            return self.open(name)
        except DataError as error:
            if not isinstance(error.__cause__, ValueError | FileNotFoundError):  # it is there, but broken
                raise
        with writing_to(self.index):
            return Table(self._base.create_table(name, schema=schema), self.index / f"{name}.lance")

    def drop(self) -> None:
        """Delete both tables, the images first, as they speak for their regions."""
        with writing_to(self.index):
            for name in (IMAGES, REGIONS):
                self._base.drop_table(name, ignore_missing=True)


_ANEW = "Type the `fastgoal index` command that made it again; if that fails too, with --overwrite."
_ERRORS = (RuntimeError, OSError, ValueError)
"""What LanceDB raises."""


def _import_lancedb() -> Any:
    os.environ.setdefault("LANCE_LOG", "error")
    try:
        import lancedb
    except ImportError as error:
        mend = "Install it: pip install 'fastgoal[search]'"
        raise ConfigError(f"LanceDB is not installed ({first_line(error)})", mend=mend) from None
    return lancedb


def _ann_config(count: int, parts: int, dim: int) -> Any:
    from lancedb.index import IvfFlat, IvfPq

    if count < _CODED or dim % 8:
        return IvfFlat(distance_type="cosine", num_partitions=parts)
    return IvfPq(distance_type="cosine", num_partitions=parts, num_sub_vectors=dim // 8)


def _options(index: Place) -> dict[str, str] | None:
    """A store of one's own on plain HTTP has to be allowed."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = isinstance(index, Url) and index.protocol == "s3" and endpoint.startswith("http://")
    return {"aws_endpoint": endpoint, "allow_http": "true"} if plain else None


@contextmanager
def reading(where: Place, *, what: str = "cannot be read", mend: str = _MEND) -> Iterator[None]:
    """Turns what LanceDB raises while reading into a `DataError`."""
    try:
        yield
    except _ERRORS as error:
        raise DataError(f"{what} ({_said(error)})", where=where, mend=mend) from error


@contextmanager
def writing_to(where: Place) -> Iterator[None]:
    """Turns what LanceDB raises while writing into a `DataError`."""
    try:
        yield
    except _ERRORS as error:
        if "conflict" in str(error).lower():
            what = f"another process writes to this index ({_said(error)})"
            raise DataError(what, where=where, mend=ALONE) from error
        mend = "Make room, allow writing there, or choose another place; what was finished is kept."
        raise DataError(f"cannot write here ({_said(error)})", where=where, mend=mend) from error


def _said(error: Exception) -> str:
    """What LanceDB says, without the place in its source."""
    return _SOURCE.sub("", first_line(error))


_SOURCE = re.compile(r",? ?/\S+\.rs:\d+:\d+")


def _among(keys: Sequence[int]) -> str:
    return f"key IN ({', '.join(map(str, keys))})" if keys else "false"


def vectors_of(batch: pa.RecordBatch | pa.Table, dim: int, column: str = "vector") -> Floats:
    """A column of lists as N x D float32."""
    lists = batch.column(column)
    flat = (lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists).flatten()
    vector_ND: Floats = np.asarray(flat, dtype=np.float32).reshape(-1, dim)
    return vector_ND


def fixed_lists(rows_NM: Floats) -> pa.Array:
    """Rows of a matrix as an Arrow column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows_NM.astype(np.float32).reshape(-1)), rows_NM.shape[1])
