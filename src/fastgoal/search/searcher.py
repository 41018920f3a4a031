"""Searching an index: by text, by image, or by an image of the index.

    query -> vector -> the best rows -> hits, and sentence by sentence their best regions

The one idea: a searcher is what the index was when it was opened. While the vectors fit a budget they are held in
memory and every one is compared; beyond it the store's own index is asked. Either way an image's score is the inner
product of its vector with the query's, the cosine that evaluation ranks by.

A searcher may be asked by several threads at once.

Shapes: N images, D joint dimensions, S sentences, R regions.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastgoal.data.images import read_image
from fastgoal.data.samples import Span
from fastgoal.data.store import ImageStore
from fastgoal.embed import embed_images, embed_texts
from fastgoal.errors import ConfigError, DataError
from fastgoal.models.baselines import load_retriever
from fastgoal.models.retriever import Retriever
from fastgoal.remote.place import Place, place_of
from fastgoal.search.hits import Found, Hit, Met
from fastgoal.search.manifest import Manifest
from fastgoal.search.met import meet
from fastgoal.search.passages import embed_query, sentence_spans
from fastgoal.search.stores import MEMORY_MIB, Floats, InMemory, InTable, Nearest, Store
from fastgoal.search.tables import IMAGES, REGIONS, Tables


class NotInIndexError(DataError):
    """No image of the index has this id."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image of the index: id, URI, size in pixels of the upright image, and its caption, if the data has one."""

    id: str
    image: str
    width: int
    height: int
    caption: str | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """An index as it was opened.

    images, regions: how many. model: its name; fingerprint. exact: every vector is compared, against the store's
    approximate index. complete: its last indexing came to its end.
    """

    uri: str
    images: int
    regions: int
    model: str
    fingerprint: str
    dim: int
    exact: bool
    complete: bool


class Searcher:
    """Made by `Searcher.open`.

    facts: what is searched. encoder: the model that queries are embedded with.
    """

    def __init__(
        self, place: Place, manifest: Manifest, encoder: Retriever, root: Place | None, memory_mib: float
    ) -> None:
        self.encoder, self._place, self._root = encoder, place, root
        encoder.eval()  # for good: threads that switch it to and fro would meet
        tables = Tables(place)
        self._images, self._regions = tables.open(IMAGES), tables.open(REGIONS)
        count = len(self._images)
        fits = 4 * count * manifest.dim <= memory_mib * 2**20
        self._store: Store = (InMemory if fits else InTable)(self._images, manifest.dim)
        self._encoding = threading.Lock()  # a tokenizer takes one caller at a time
        self.facts = Facts(
            uri=str(place),
            images=count,
            regions=len(self._regions),
            model=manifest.model,
            fingerprint=manifest.fingerprint,
            dim=manifest.dim,
            exact=self._store.exact,
            complete=manifest.complete,
        )

    @classmethod
    def open(
        cls,
        uri: str | Path,
        encoder: Retriever | None = None,
        *,
        root: str | Path | None = None,
        memory_mib: float = MEMORY_MIB,
        device: str = "cpu",
    ) -> "Searcher":
        """Open an index.

        Args:
            uri: its folder, or its URL in object storage.
            encoder: the model that it was made by; None loads the one that it names.
            root: where its images lie, if not where it says.
            memory_mib: vectors are held in memory, and searched exactly, while they are no more than this.
            device: where a model that is loaded runs.

        Raises:
            DataError: no index there, or a broken one.
            ModelError: another model than the index was made by.
            ConfigError: LanceDB is not installed.
        """
        place = place_of(uri)
        manifest = Manifest.read(place)
        name = manifest.model_name(place)
        if encoder is None:
            encoder = load_retriever(name, device=device)
        mend = f"Search with {name} (without --model), or index the images again with this one."
        manifest.expect_model(encoder.fingerprint, encoder.name, place, mend=mend)
        return cls(place, manifest, encoder, manifest.images_root(place, root), memory_mib)

    @property
    def outdated(self) -> bool:
        """Whether the index was changed since; open it again to search what is there now.

        Raises:
            DataError: it is not there any more.
        """
        tables = Tables(self._place)
        mine = {IMAGES: self._images, REGIONS: self._regions}
        return any(tables.open(name).version != table.version for name, table in mine.items())

    # Searching

    def text(
        self,
        query: str,
        *,
        top: int = 20,
        skip: int = 0,
        where: str | None = None,
        sentences: bool = False,
        language: str = "en",
    ) -> Found:
        """The images that a text fits best.

        Args:
            query: of any length (see `passages`). top, skip: how many hits, after how many.
            where: a condition in SQL over the columns `id`, `image`, `width`, `height`, `caption`, `bytes`.
            sentences: say of every hit how well it meets each sentence, and in which of its regions.
            language: of the query, for cutting sentences.

        Raises:
            ConfigError: an empty query, numbers below zero, or a condition that is none.
        """
        begin = time.perf_counter()
        with self._encoding:
            embedded = embed_query(self.encoder, query, language)
            spans = sentence_spans(query, language) if sentences else ()
            sentence_SD = embed_texts(self.encoder, [query[start:end] for start, end in spans])[0] if spans else None
        encoded = time.perf_counter()
        found = self._nearest(embedded.mean_D, top, skip, where)
        hits = _hits(found)
        if sentence_SD is not None:
            keys = [row["key"] for row in found.rows]
            met = meet(self._images, self._regions, keys, spans, sentence_SD)
            hits = tuple(replace(hit, sentences=own) for hit, own in zip(hits, met, strict=True))
        passages = embedded.spans if len(embedded.spans) > 1 else ()
        return self._found(query, hits, found.matching, passages, begin, encoded)

    def image(self, picture: Image.Image, *, top: int = 20, skip: int = 0, where: str | None = None) -> Found:
        """The images that are most like an upright RGB picture. Arguments and errors as of `text`."""
        begin = time.perf_counter()
        with self._encoding:
            vector_D = embed_images(self.encoder, [picture])[0]
        encoded = time.perf_counter()
        found = self._nearest(vector_D, top, skip, where)
        return self._found(None, _hits(found), found.matching, (), begin, encoded)

    def like(self, id: str, *, top: int = 20, skip: int = 0, where: str | None = None) -> Found:
        """The images that are most like one of the index, itself left out. Arguments and errors as of `text`.

        Raises:
            NotInIndexError: no image has this id.
        """
        begin = time.perf_counter()
        row = self._row(id, ["key", "vector"])
        encoded = time.perf_counter()
        found = self._nearest(np.array(row["vector"], np.float32), top, skip, where, but=row["key"])
        return self._found(None, _hits(found), found.matching, (), begin, encoded)

    def _nearest(self, query_D: Floats, top: int, skip: int, where: str | None, but: int | None = None) -> Nearest:
        for name, value in {"top": top, "skip": skip}.items():
            if value < 0:
                raise ConfigError(f"{value} is too small", where=name, mend="Use 0 or more.")
        return self._store.nearest(query_D, top, skip, where, but)

    def _found(
        self,
        query: str | None,
        hits: tuple[Hit, ...],
        matching: int,
        passages: tuple[Span, ...],
        begin: float,
        encoded: float,
    ) -> Found:
        return Found(
            query=query,
            hits=hits,
            matching=matching,
            passages=passages,
            exact=self.facts.exact,
            encode_ms=1000 * (encoded - begin),
            search_ms=1000 * (time.perf_counter() - encoded),
        )

    # Images

    def record(self, id: str) -> Record:
        """What the index says of an image.

        Raises:
            NotInIndexError: no image has this id.
        """
        return Record(**self._row(id, ["id", "image", "width", "height", "caption"]))

    def picture(self, id: str) -> Image.Image:
        """An image of the index, upright RGB, read where it lies.

        Raises:
            NotInIndexError: no image has this id.
            DataError: it cannot be read, or it is not known where the images lie.
        """
        uri = self._row(id, ["image"])["image"]
        if self._root is None:
            mend = "Say where the images lie with --root."
            raise DataError("the index does not say where its images lie", where=self.facts.uri, mend=mend)
        return read_image(ImageStore(self._root).open(uri), where=uri)

    def sample(self, count: int) -> tuple[Record, ...]:
        """Some images, spread over the first few thousand rows; those with a caption, where any has one."""
        columns = ["id", "image", "width", "height", "caption"]
        batch = next(self._images.batches(columns, "caption IS NOT NULL"), None)
        if not batch:
            batch = next(self._images.batches(columns), None)
        rows = [] if batch is None else batch.to_pylist()
        return tuple(Record(**row) for row in rows[:: -(-len(rows) // count) or 1])

    def met(self, id: str, query: str, language: str = "en") -> tuple[Met, ...]:
        """How well an image of the index meets each sentence of a text, and in which of its regions.

        Raises:
            NotInIndexError: no image has this id. ConfigError: an empty text.
        """
        key = self._row(id, ["key"])["key"]
        if not query.strip():
            raise ConfigError("the query is empty", where="query", mend="Say what the image shows.")
        spans = sentence_spans(query, language)
        with self._encoding:
            sentence_SD, _ = embed_texts(self.encoder, [query[start:end] for start, end in spans])
        return meet(self._images, self._regions, [key], spans, sentence_SD)[0]

    def _row(self, id: str, columns: Sequence[str]) -> dict[str, Any]:
        quoted = id.replace("'", "''")
        found = self._images.read(columns, f"id = '{quoted}'").to_pylist()
        if not found:
            raise NotInIndexError(f"no image has the id {id!r}", where=self.facts.uri, mend="Take an id of a hit.")
        return dict(found[0])


def _hits(found: Nearest) -> tuple[Hit, ...]:
    shown = ({name: value for name, value in row.items() if name != "key"} for row in found.rows)
    return tuple(Hit(**row, score=score) for row, score in zip(shown, found.scores, strict=True))
