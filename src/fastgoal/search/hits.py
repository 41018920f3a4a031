"""What a search finds: hits with their scores and, sentence by sentence, how well and where the image meets the query.

These are the words that the command line, the service and the page share; `to_json` is the contract of all three.
"""

from dataclasses import dataclass
from typing import Any

from fastgoal.geometry import Box


@dataclass(frozen=True, kw_only=True)
class Met:
    """One sentence of the query in one image.

    span: characters `[start, end)` of the query. score: cosine similarity with the best region of the image, or with
    the image as a whole where the index holds no regions. box: that region in pixels of the upright image; None for the
    image as a whole.
    """

    span: tuple[int, int]
    score: float
    box: Box | None

    def to_json(self) -> dict[str, Any]:
        return {"span": list(self.span), "box": None if self.box is None else list(self.box), "score": self.score}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One image: id and URI as the index holds them, its size in pixels, its score, and the sentences if asked for."""

    id: str
    image: str
    width: int
    height: int
    score: float
    sentences: tuple[Met, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "score": self.score,
            "sentences": [met.to_json() for met in self.sentences],
        }


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer to one query.

    Args:
        query: the text; None for an image. hits: best first.
        matching: how many images of the index the filter admits, so that pages can be counted.
        passages: spans of the query that were embedded each by itself, as the whole exceeds the text limit; empty if
            the query was embedded in one piece.
        exact: every vector was compared, against the store's approximate index.
        encode_ms, search_ms: where the time went.
    """

    query: str | None
    hits: tuple[Hit, ...]
    matching: int
    passages: tuple[tuple[int, int], ...]
    exact: bool
    encode_ms: float
    search_ms: float

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "hits": [hit.to_json() for hit in self.hits],
            "matching": self.matching,
            "passages": [list(span) for span in self.passages],
            "exact": self.exact,
            "encode_ms": self.encode_ms,
            "search_ms": self.search_ms,
        }
