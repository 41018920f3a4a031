"""Searching beside the bare product, by the approximate index, indexing beside the forward passes alone, memory.

The vectors that are searched are random unit vectors around some thousand centres; what a search costs does not depend
on what is in them, what an approximate index finds does.

Shapes: N images, Q queries, D dimensions.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastgoal.bench.alone import alone
from fastgoal.bench.harness import Row, Spread, alternate, memory, rates
from fastgoal.bench.workload import VIT_B_16, load
from fastgoal.captioning.pictures import open_pictures
from fastgoal.data.images import fit_pixels, read_image
from fastgoal.data.scenes import ScenesConfig, write_scenes
from fastgoal.embed import embed_images
from fastgoal.matching.matcher import batch_for
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.progress import Progress
from fastgoal.remote.place import place_of
from fastgoal.search.build import IndexSettings, index
from fastgoal.search.manifest import Manifest, model_facts
from fastgoal.search.neighbours import ann_recall
from fastgoal.search.searcher import Searcher
from fastgoal.search.stores import InMemory, InTable, Store
from fastgoal.search.tables import IMAGES, REGIONS, Table, Tables, fixed_lists, images_schema, regions_schema

Floats = npt.NDArray[np.float32]
HERE = "fastgoal.bench.search"
TOP = 20
_STRIP = 10_000


@dataclass(frozen=True, kw_only=True)
class SearchBench:
    """What is measured. images, dims: vectors that are searched. queries: of every figure. model, scenes: of indexing;
    0 scenes leave it out. rounds: of every comparison."""

    images: int = 100_000
    dims: int = 512
    queries: int = 200
    model: str = VIT_B_16
    scenes: int = 64
    rounds: int = 3
    device: str = "cpu"

    def rows(self, *, progress: bool = True) -> list[Row]:
        """All rows."""
        with tempfile.TemporaryDirectory() as name:
            vectors = _Vectors(folder=Path(name), images=self.images, dims=self.dims, queries=self.queries)
            stages: list[Callable[[], list[Row]]] = [
                lambda: self._exact(vectors),
                lambda: self._approximate(vectors),
                lambda: self._memory(Path(name) / "served"),
                *([lambda: [self._indexing(Path(name))]] if self.scenes else []),
            ]
            rows: list[Row] = []
            with Progress(len(stages), "bench search", "part", show=progress) as bar:
                for stage in stages:
                    rows += stage()
                    bar.update()
        return rows

    def _exact(self, vectors: "_Vectors") -> list[Row]:
        store, matrix_ND = InMemory(vectors.table, self.dims), vectors.matrix_ND
        numbers = count()

        def filtered(query_D: Floats) -> object:
            return store.nearest(query_D, TOP, 0, f"width > {next(numbers)}", None)  # each time one not asked before

        found = latencies(
            {
                "ours": lambda query_D: store.nearest(query_D, TOP, 0, None, None),
                "reference": lambda query_D: matrix_ND @ query_D,
                "filtered": filtered,
            },
            vectors.query_QD,
            self.rounds,
        )
        name = f"exact search of {self.images:,} x {self.dims} beside the bare product"
        with_filter = f"the same with a filter that was not asked before, over {self.images:,} rows"
        return [*_percentiles(name, found, aim="<= 50"), *_percentiles(with_filter, {"ours": found["filtered"]})]

    def _approximate(self, vectors: "_Vectors") -> list[Row]:
        begin = time.perf_counter()
        vectors.table.build_ann(self.dims)
        seconds = time.perf_counter() - begin
        store: Store = InTable(vectors.table, self.dims)
        sides = {"ours": lambda query_D: store.nearest(query_D, TOP, 0, None, None)}
        found = latencies(sides, vectors.query_QD, self.rounds)
        name = f"search of {self.images:,} x {self.dims} by the approximate index"
        recall = ann_recall(vectors.table, self.dims, sample=min(self.queries, self.images))
        return [
            *_percentiles(name, found),
            Row(name=f"{name}: recall@{recall.depth}", unit="share", ours=recall.recall),
            Row(name=f"{name}: making it", unit="s", ours=seconds),
        ]

    def _memory(self, folder: Path) -> list[Row]:
        encoder = load("tiny", tokens=77)
        make_table(folder, self.images, encoder.dim)
        Manifest(
            **model_facts("tiny", folder),
            fingerprint=encoder.fingerprint,
            dim=encoder.dim,
            regions=None,
            proposer=None,
            root=None,
            complete=True,
        ).write(folder)
        found = alone(f"{HERE}:served", uri=folder, queries=min(self.queries, 50))
        name = f"a process that serves {self.images:,} x {encoder.dim} with tiny, memory"
        return [memory(name, found["peak_mib"], aim=f"<= {1.5e9 / 2**20:,.0f} (1.5 GB)")]

    def _indexing(self, folder: Path) -> Row:
        write_scenes(folder / "scenes", ScenesConfig(train=0, val=0, test=self.scenes), progress=False)
        pictures, encoder = open_pictures(folder / "scenes" / "test"), load(self.model, self.device, tokens=77)
        uris = [picture.uri for picture in pictures if not isinstance(picture, Exception)]
        views = [fit_pixels(read_image(pictures.images.open(uri)), encoder.fit) for uri in uris]
        settings, numbers = IndexSettings(duplicates=None), count()
        encoder.fingerprint  # noqa: B018  (read once, as by a run of any length)

        def ours() -> None:
            index(pictures, encoder, folder / f"index-{next(numbers)}", settings, progress=False)

        sides = {"ours": ours, "bound": lambda: embed_images(encoder, views, batch=batch_for(encoder.device))}
        seconds = alternate(sides, self.rounds, device=self.device)
        name = f"indexing {self.scenes} scenes with {self.model}"
        bound = "its forward passes alone, pixels at hand"
        return rates(name, "images/s", len(views), seconds, bound_is=bound, aim=">= 0.8 of the bound")


@dataclass(frozen=True, kw_only=True)
class _Vectors:
    """The vectors that are searched, in a table and in memory, and queries near some of them."""

    folder: Path
    images: int
    dims: int
    queries: int

    @cached_property
    def table(self) -> Table:
        return make_table(self.folder / "vectors", self.images, self.dims)

    @cached_property
    def matrix_ND(self) -> Floats:
        return np.concatenate(list(random_vectors(self.images, self.dims)))

    @cached_property
    def query_QD(self) -> Floats:
        rng, near_Q = np.random.default_rng(1), np.linspace(0, self.images - 1, self.queries).astype(np.int64)
        noise_QD = rng.standard_normal((self.queries, self.dims), dtype=np.float32) / self.dims**0.5
        return _unit(self.matrix_ND[near_Q] + noise_QD)


def random_vectors(images: int, dims: int) -> "list[Floats]":
    """Unit vectors, some at a time, around one centre for every fifty of them."""
    rng = np.random.default_rng(0)
    centre_CD = rng.standard_normal((max(1, images // 50), dims), dtype=np.float32)
    parts = []
    for start in range(0, images, _STRIP):
        rows = min(_STRIP, images - start)
        own_ND = centre_CD[rng.integers(0, len(centre_CD), rows)]
        parts.append(_unit(own_ND + rng.standard_normal((rows, dims), dtype=np.float32)))
    return parts


def _unit(rows_ND: Floats) -> Floats:
    unit_ND: Floats = rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return unit_ND


def make_table(folder: Path, images: int, dims: int) -> Table:
    """An index's tables with rows that have vectors and names, and no images behind them."""
    tables, start = Tables(place_of(folder)), 0
    table = tables.make(IMAGES, images_schema(dims))
    tables.make(REGIONS, regions_schema(dims))
    for vector_ND in random_vectors(images, dims):
        numbers = np.arange(start, start + len(vector_ND))
        names = [f"images/{number:07d}.jpg" for number in numbers]
        columns = {
            "id": names,
            "image": names,
            "width": numbers.astype(np.int32),
            "height": numbers.astype(np.int32),
            "caption": [None] * len(numbers),
            "bytes": numbers,
            "key": numbers,
            "state": numbers,
            "vector": fixed_lists(vector_ND),
        }
        table.add(pa.table(columns, schema=images_schema(dims)))
        start += len(vector_ND)
    return table


def latencies(
    sides: Mapping[str, Callable[[Floats], object]], query_QD: Floats, rounds: int
) -> dict[str, list[list[float]]]:
    """Milliseconds of every query, round by round; the sides take turns query by query."""
    took: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in sides}
    for side in sides.values():
        side(query_QD[0])  # unmeasured: what the first call sets up
    for number in range(rounds):
        for query_D in query_QD:
            for name, side in sides.items():
                begin = time.perf_counter()
                side(query_D)
                took[name][number].append(1000 * (time.perf_counter() - begin))
    return took


def _percentiles(name: str, found: Mapping[str, Sequence[Sequence[float]]], aim: str = "") -> list[Row]:
    """The median and the 95th percentile, each the median over the rounds."""
    rows = []
    for percent, own_aim in ((50, ""), (95, aim)):
        of = {side: [float(np.percentile(own, percent)) for own in rounds] for side, rounds in found.items()}
        other = of.get("reference")
        rows.append(
            Row(
                name=f"{name}, p{percent}",
                unit="ms",
                ours=float(np.median(of["ours"])),
                reference=float(np.median(other)) if other else None,
                ratio=Spread.of([a / b for a, b in zip(of["ours"], other, strict=True)]) if other else None,
                aim=own_aim,
            )
        )
    return rows


def served(uri: str, queries: int) -> dict[str, float]:
    """What a service does, to be called in a process of its own: open the index, load its model, answer."""
    searcher = Searcher.open(uri)
    assert isinstance(searcher.encoder, DualEncoder)
    took = [searcher.text(f"A red ball lies on the left of table {number}.").search_ms for number in range(queries)]
    return {"search_ms": float(np.median(took))}
