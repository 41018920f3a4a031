"""What goes over the wire, as the API's description shows it."""

from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fastgoal.explain.explanation import ExplainedSentence, Explanation
from fastgoal.search.hits import Found, Met
from fastgoal.search.searcher import Record
from fastgoal.search.service.filters import Filters
from fastgoal.search.service.latency import Quantiles

MAX_TEXT = 8000
"""Characters of a query: some two pages, which a model may have to read in fifty passages."""
MAX_TOP = 100
MAX_SKIP = 10_000
"""How deep one may look: an approximate index gives no hit without all the better ones."""

Id = Annotated[str, Field(min_length=1, max_length=2000, description="Of an image, as hits give it.")]
Span = tuple[int, int]
Box = tuple[float, float, float, float]


class Page(BaseModel):
    """Which of the hits are wanted."""

    model_config = ConfigDict(extra="forbid")

    top: Annotated[int, Field(ge=1, le=MAX_TOP, description="How many.")] = 24
    skip: Annotated[int, Field(ge=0, le=MAX_SKIP, description="After how many better ones.")] = 0


class FilteredPage(Page, Filters):
    """The same among the images that pass a filter."""

    def condition(self) -> str | None:
        return Filters.condition(self)


class TextQuestion(Page):
    """A search by text."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="A word or a whole paragraph.")]
    filters: Filters = Filters()
    sentences: Annotated[bool, Field(description="Say of every hit how well it meets each sentence.")] = True

    @field_validator("text")
    @classmethod
    def says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the query is empty; say what the image shows")
        return text


class ExplainQuestion(BaseModel):
    """What is to be explained: an image of the index with a text."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    text: Annotated[
        str | None, Field(max_length=MAX_TEXT, description="Null takes the image's own caption, if it has one.")
    ] = None


class MetOut(BaseModel):
    """One sentence of the query in one image."""

    span: Annotated[Span, Field(description="Characters [start, end) of the query, in code points.")]
    score: Annotated[float, Field(description="Cosine with the best region, or with the whole image.")]
    box: Annotated[Box | None, Field(description="That region: x1, y1, x2, y2 in pixels; null for the whole image.")]

    @classmethod
    def of(cls, met: Met) -> Self:
        return cls(span=met.span, score=met.score, box=met.box)


class HitOut(BaseModel):
    """One image that was found."""

    id: str
    image: Annotated[str, Field(description="Where it lies, relative to the images' folder.")]
    width: int
    height: int
    score: Annotated[float, Field(description="Cosine similarity with the query.")]
    sentences: list[MetOut]


class Timing(BaseModel):
    """How long answers of one kind took lately, in milliseconds, waiting included."""

    count: int
    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, quantiles: Quantiles) -> Self:
        return cls(**asdict(quantiles))


class Answer(BaseModel):
    """The hits of one query, best first."""

    query: Annotated[str | None, Field(description="The text; null for an image.")]
    hits: list[HitOut]
    matching: Annotated[int, Field(description="Images that the filter admits.")]
    passages: Annotated[list[Span], Field(description="Parts of a query that is too long to be read at once.")]
    exact: Annotated[bool, Field(description="Every image was compared.")]
    encode_ms: float
    search_ms: float
    latency: Timing

    @classmethod
    def of(cls, found: Found, latency: Quantiles) -> Self:
        hits = [
            HitOut(
                id=hit.id,
                image=hit.image,
                width=hit.width,
                height=hit.height,
                score=hit.score,
                sentences=[MetOut.of(met) for met in hit.sentences],
            )
            for hit in found.hits
        ]
        return cls(
            query=found.query,
            hits=hits,
            matching=found.matching,
            passages=list(found.passages),
            exact=found.exact,
            encode_ms=found.encode_ms,
            search_ms=found.search_ms,
            latency=Timing.of(latency),
        )


class SentenceOut(MetOut):
    """One sentence with the part of the image that it means."""

    visible: Annotated[bool, Field(description="Within the model's text limit.")]
    heat: Annotated[
        list[list[float]] | None,
        Field(description="Cosine with each patch, row by row; null where the model cannot say."),
    ]

    @classmethod
    def joined(cls, met: Met, explained: ExplainedSentence | None) -> Self:
        """Score and box as the hits have them, the rest as the explanation, if there is one."""
        heat_GG = None if explained is None else explained.heat_GG
        return cls(
            span=met.span,
            score=met.score,
            box=met.box,
            visible=explained is None or explained.visible,
            heat=None if heat_GG is None else heat_GG.round(4).tolist(),
        )


class ExplainAnswer(BaseModel):
    """Why an image and a text match."""

    text: Annotated[str | None, Field(description="What was explained; null for an image without a caption.")]
    caption: Annotated[str | None, Field(description="The image's own, as the index has it.")]
    width: int
    height: int
    similarity: Annotated[float | None, Field(description="Cosine of the whole image and the whole text.")]
    view: Annotated[Box | None, Field(description="The part of the image that the patches cover, in its pixels.")]
    sentences: list[SentenceOut]

    @classmethod
    def of(cls, record: Record, text: str | None, met: tuple[Met, ...], explanation: Explanation | None) -> Self:
        """From what the index says, and what the model does, if it can."""
        explained = {} if explanation is None else {one.span: one for one in explanation.sentences}
        return cls(
            text=text,
            caption=record.caption,
            width=record.width,
            height=record.height,
            similarity=None if explanation is None else explanation.similarity,
            view=None if explanation is None else explanation.view,
            sentences=[SentenceOut.joined(one, explained.get(one.span)) for one in met],
        )


class Bounds(BaseModel):
    """What a client may ask for."""

    text: Annotated[int, Field(description="Characters of a query.")]
    top: int
    skip: int
    upload_bytes: int
    pixels: int


class Example(BaseModel):
    """An image of the index with its caption, if it has one."""

    id: str
    caption: str | None


class FactsAnswer(BaseModel):
    """What is searched, by what, and how fast."""

    name: str
    images: int
    regions: int
    model: str
    dim: int
    exact: bool
    complete: bool
    version: Annotated[str, Field(description="Of fastgoal.")]
    examples: list[Example]
    limits: Bounds
    latency: Annotated[dict[str, Timing], Field(description="Of this worker, by kind of answer.")]


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"
