"""The commits of an indexing, and the mending of what earlier ones left."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastgoal.search.embedding import Batch, Look
from fastgoal.search.tables import (
    IMAGES,
    REGIONS,
    Ints,
    Table,
    Tables,
    fixed_lists,
    images_schema,
    regions_schema,
    vectors_of,
)


class IndexWriter:
    """Writes an index batch by batch, and counts what that changed.

    mended: rows that a kill or a second writer had left, deleted at the start. fresh: keys of the images embedded.

    Args:
        dim: joint dimensions D.

    Raises, from every method: DataError where the disk or the store refuses, or another process writes too.
    """

    def __init__(self, tables: Tables, dim: int) -> None:
        self.images = tables.make(IMAGES, images_schema(dim))
        self.regions = tables.make(REGIONS, regions_schema(dim))
        self.dim = dim
        self.added = self.changed = self.same = self.deleted = 0
        self.left_out: list[Look] = []
        self.fresh: list[int] = []
        self.workers: set[str | None] = set()
        self.mended = self._mend()

    def _mend(self) -> int:
        """Delete what kills and a second writer left; how many rows."""
        rows = len(self.images) + len(self.regions)
        table = self.images.read(["id", "key"])
        counts = table.column("id").value_counts()
        twice = pc.struct_field(counts, "values").filter(pc.greater(pc.struct_field(counts, "counts"), 1))
        doubled = table.filter(pc.is_in(table.column("id"), twice)).column("key").to_pylist()
        doubled += doubled_regions(self.regions)
        self.delete(sorted(set(doubled)))
        self.deleted = 0
        own_N, of_R = (table.read(["key"]).column("key").to_numpy() for table in (self.images, self.regions))
        self.regions.delete_keys(np.setdiff1d(of_R, own_N).tolist())  # whose image is not there, or has others now
        return rows - len(self.images) - len(self.regions)

    def add(self, made: Batch) -> None:
        """Write a batch: the regions, and then the images that they belong to."""
        self.left_out += made.left_out
        self.workers.add(made.worker)
        self.regions.add(self._region_rows(made))
        rows = self._image_rows(made)
        known = [look.todo.known for look in (*made.looks, *made.same) if look.todo.known is not None]
        if known:
            self.images.put(rows)
            old = set(known) - {look.key for look in made.same}
            self.regions.delete_keys(sorted(old))
        else:
            self.images.add(rows)
        self.fresh += [look.key for look in made.looks]
        changed = sum(look.todo.known is not None for look in made.looks)
        self.added += len(made.looks) - changed
        self.changed += changed
        self.same += len(made.same)

    def _region_rows(self, made: Batch) -> pa.Table:
        owners = [look for look in made.looks for _ in look.boxes]
        box_R4 = np.array([box for look in made.looks for box in look.boxes], np.float32).reshape(-1, 4)
        columns = {
            "id": [look.todo.picture.id for look in owners],
            "key": [look.key for look in owners],
            "box": fixed_lists(box_R4),
            "vector": fixed_lists(made.region_RD),
        }
        return pa.table(columns, schema=regions_schema(self.dim))

    def _image_rows(self, made: Batch) -> pa.Table:
        looks, vector_ND = list(made.looks), made.image_ND
        if made.same:
            kept = self.images.with_keys([look.key for look in made.same], ["key", "width", "height", "vector"])
            sizes = {row["key"]: row for row in kept.drop_columns("vector").to_pylist()}
            place = {key: row for row, key in enumerate(kept.column("key").to_pylist())}
            looks += [_sized(look, sizes[look.key]) for look in made.same]
            order = [place[look.key] for look in made.same]
            vector_ND = np.concatenate([vector_ND, vectors_of(kept, self.dim)[order]])
        columns = {
            "id": [look.todo.picture.id for look in looks],
            "image": [look.todo.picture.uri for look in looks],
            "width": [look.width for look in looks],
            "height": [look.height for look in looks],
            "caption": [look.todo.picture.caption for look in looks],
            "bytes": [look.size for look in looks],
            "key": [look.key for look in looks],
            "state": [look.todo.state for look in looks],
            "vector": fixed_lists(vector_ND),
        }
        return pa.table(columns, schema=images_schema(self.dim))

    def delete(self, keys: Sequence[int]) -> None:
        """Delete images, and then their regions."""
        self.images.delete_keys(keys)
        self.regions.delete_keys(keys)
        self.deleted += len(keys)

    def tidy(self) -> None:
        """Make few files of many small ones."""
        self.images.tidy()
        self.regions.tidy()


def _sized(look: Look, row: Mapping[str, int]) -> Look:
    return replace(look, width=row["width"], height=row["height"])


def doubled_regions(regions: Table) -> list[int]:
    """Keys of images of which a region is there twice."""
    keys, hashes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for batch in regions.batches(["key", "box"]):
        key_R = batch.column("key").to_numpy()
        half_R2 = np.ascontiguousarray(vectors_of(batch, 4, "box")).view(np.uint64)
        keys.append(key_R)
        hashes.append((key_R.view(np.uint64) * _ODD[0] + half_R2[:, 0]) * _ODD[1] + half_R2[:, 1] * _ODD[2])
    key_R, hash_R = np.concatenate(keys), np.concatenate(hashes)
    _, first_U, count_U = np.unique(hash_R, return_index=True, return_counts=True)
    doubled_K: Ints = np.unique(key_R[first_U[count_U > 1]])
    return [int(key) for key in doubled_K]


_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd numbers with their bits well mixed: products of them tell a key and a box from others in 64 bits."""
