"""A large index out of a small one, for measuring searches and services: vectors are made, images are real.

    python benchmarks/made_index.py INDEX URI --images 100000 [--regions 2] [--noise 0.5] [--seed 0]

The rows of INDEX are dealt out again and again under new ids (`00000017-ID`); each vector is the small index's own plus
noise of that length, made unit length again, so that neighbours are as near as they are among real images and no two
rows are alike. Images and captions are those of INDEX, and so its images must stay where they are.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from fastgoal.progress import Progress
from fastgoal.search.manifest import Manifest
from fastgoal.search.tables import (
    IMAGES,
    REGIONS,
    Table,
    Tables,
    fixed_lists,
    images_schema,
    regions_schema,
    vectors_of,
)

BATCH = 10_000


def noisy(vector_ND: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    made_ND = rng.standard_normal(vector_ND.shape, np.float32)
    made_ND = vector_ND + noise * made_ND / np.linalg.norm(made_ND, axis=1, keepdims=True)
    return made_ND / np.linalg.norm(made_ND, axis=1, keepdims=True)


def copies(
    source: pa.Table, numbers: range, regions: bool, dim: int, noise: float, rng: np.random.Generator
) -> pa.Table:
    """One row per number, of the source's rows in turn."""
    rows = source.take([number % len(source) for number in numbers])
    made = {name: rows.column(name) for name in rows.column_names}
    made["id"] = [f"{number:08d}-{id}" for number, id in zip(numbers, rows.column("id").to_pylist(), strict=True)]
    made["key"] = list(numbers)
    made["vector"] = fixed_lists(noisy(vectors_of(rows, dim), noise, rng))
    return pa.table(made, schema=(regions_schema if regions else images_schema)(dim))


def deal(index: Path, to: Path, images: int, regions: int, noise: float, seed: int) -> None:
    manifest, small, large = Manifest.read(index), Tables(index), Tables(to)
    root = None if manifest.root is None else os.path.relpath(index / manifest.root, to)
    rng, dim = np.random.default_rng(seed), manifest.dim
    of_images = _all(small.open(IMAGES), images_schema(dim))
    of_regions = _all(small.open(REGIONS), regions_schema(dim))
    into_images, into_regions = large.make(IMAGES, images_schema(dim)), large.make(REGIONS, regions_schema(dim))
    with Progress(images, "dealing", "image") as progress:
        for start in range(0, images, BATCH):
            numbers = range(start, min(images, start + BATCH))
            for _ in range(regions if len(of_regions) else 0):
                into_regions.add(copies(of_regions, numbers, True, dim, noise, rng))
            into_images.add(copies(of_images, numbers, False, dim, noise, rng))
            progress.update(len(numbers))
    replace(manifest, root=root, complete=True).write(to)


def _all(table: Table, schema: pa.Schema) -> pa.Table:
    return table.read(schema.names).select(schema.names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("uri", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--regions", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.uri.mkdir(parents=True)
    deal(asked.index, asked.uri, asked.images, asked.regions, asked.noise, asked.seed)


if __name__ == "__main__":
    main()
