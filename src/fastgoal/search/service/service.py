"""What the routes do, without the web: a searcher, the threads that ask it, and how long that took.

Model and tokenizer take one caller at a time, so one thread does all that needs them, and torch has the cores to itself
there; images are decoded for the page by two others.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO

from fastgoal.errors import DataError
from fastgoal.explain import explain
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.search.hits import Found
from fastgoal.search.searcher import NotInIndexError, Record, Searcher
from fastgoal.search.service.lanes import Lane
from fastgoal.search.service.latency import Latency, Quantiles
from fastgoal.search.service.pictures import Pictures, Rendered, Size
from fastgoal.search.service.problems import ImageGoneError
from fastgoal.search.service.schemas import ExplainAnswer
from fastgoal.search.service.settings import Limits
from fastgoal.search.service.uploads import read_upload

EXAMPLES = 8
KINDS = ("text", "image", "like", "explain", "picture")


class Service:
    """One searcher, served. Used by one event loop; `close` ends its threads."""

    def __init__(self, searcher: Searcher, limits: Limits) -> None:
        self.searcher, self.limits = searcher, limits
        self._model = Lane(1, limits.waiting, "model")
        self._decoding = Lane(2, 4 * limits.waiting, "decoding")
        self._pictures = Pictures(searcher, self._decoding)
        self._latency = {kind: Latency() for kind in KINDS}

    @property
    def name(self) -> str:
        """What the index is called, without where it lies."""
        return PurePosixPath(self.searcher.facts.uri).name

    @property
    def latency(self) -> dict[str, Quantiles]:
        return {kind: latency.quantiles() for kind, latency in self._latency.items()}

    @cached_property
    def examples(self) -> tuple[Record, ...]:
        """Some images of the index, read once."""
        return self.searcher.sample(EXAMPLES)

    async def facts(self) -> tuple[Record, ...]:
        """The examples, read by a thread the first time."""
        return await self._decoding.run(lambda: self.examples)

    async def text(self, query: str, top: int, skip: int, where: str | None, sentences: bool) -> Found:
        """As `Searcher.text`."""
        async with self._timed("text"):
            return await self._model.run(
                self.searcher.text, query, top=top, skip=skip, where=where, sentences=sentences
            )

    async def image(self, file: IO[bytes], top: int, skip: int, where: str | None) -> Found:
        """As `Searcher.image`, of a file that was sent. It is read only when its turn has come, one at a time."""

        def ask() -> Found:
            picture = read_upload(file, self.limits.pixels)
            return self.searcher.image(picture, top=top, skip=skip, where=where)

        async with self._timed("image"):
            return await self._model.run(ask)

    async def like(self, id: str, top: int, skip: int, where: str | None) -> Found:
        """As `Searcher.like`."""
        async with self._timed("like"):
            return await self._model.run(self.searcher.like, id, top=top, skip=skip, where=where)

    async def picture(self, id: str, size: Size) -> Rendered:
        """An image of the index.

        Raises:
            NotInIndexError: no image has this id. ImageGoneError: it cannot be read.
        """
        async with self._timed("picture"):
            try:
                return await self._pictures.get(id, size)
            except NotInIndexError:
                raise
            except DataError as error:
                raise ImageGoneError from error

    async def explain(self, id: str, text: str | None) -> ExplainAnswer:
        """Sentence by sentence where an image meets a text, or its own caption.

        Raises:
            As `picture`.
        """
        async with self._timed("explain"):
            return await self._model.run(self._explain, id, text)

    def _explain(self, id: str, text: str | None) -> ExplainAnswer:
        record, encoder = self.searcher.record(id), self.searcher.encoder
        text = text if text is not None and text.strip() else record.caption
        if text is None:
            return ExplainAnswer.of(record, None, (), None)
        explanation = None
        if isinstance(encoder, DualEncoder):
            try:
                picture = self.searcher.picture(id)
            except DataError as error:
                raise ImageGoneError from error
            explanation = explain(encoder, picture, text, regions=())  # the regions are in the index already
        return ExplainAnswer.of(record, text, self.searcher.met(id, text), explanation)

    @asynccontextmanager
    async def _timed(self, kind: str) -> AsyncIterator[None]:
        """Counts what ends well."""
        begin = time.perf_counter()
        yield
        self._latency[kind].add(1000 * (time.perf_counter() - begin))

    def close(self) -> None:
        """Returns when what was begun is done."""
        self._model.close()
        self._decoding.close()
