"""The API: what is asked, checked by its schema, to the service and back."""

from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, UploadFile

from fastgoal.search.hits import Found
from fastgoal.search.service.pictures import Size
from fastgoal.search.service.problems import documented
from fastgoal.search.service.schemas import (
    MAX_SKIP,
    MAX_TEXT,
    MAX_TOP,
    Answer,
    Bounds,
    Example,
    ExplainAnswer,
    ExplainQuestion,
    FactsAnswer,
    FilteredPage,
    Health,
    Id,
    TextQuestion,
    Timing,
)
from fastgoal.search.service.service import Service

router = APIRouter(prefix="/api", responses=documented(401, 403, 421, 422, 429, 503))
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}, "description": "A JPEG."},
    304: {"description": "The client's copy is this one."},
}
_CACHE = {"Cache-Control": "private, max-age=3600"}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get("/health")
async def health() -> Health:
    """Whether the server answers; needs no token."""
    return Health()


@router.get("/facts")
async def facts(request: Request) -> FactsAnswer:
    """What this index holds, some of its captions, the limits, and how long answers take."""
    service = _service(request)
    known, limits = service.searcher.facts, service.limits
    return FactsAnswer(
        name=service.name,
        images=known.images,
        regions=known.regions,
        model=known.model,
        dim=known.dim,
        exact=known.exact,
        complete=known.complete,
        version=version("fastgoal"),
        examples=[Example(id=record.id, caption=record.caption) for record in await service.facts()],
        limits=Bounds(text=MAX_TEXT, top=MAX_TOP, skip=MAX_SKIP, upload_bytes=limits.body_bytes, pixels=limits.pixels),
        latency={kind: Timing.of(quantiles) for kind, quantiles in service.latency.items()},
    )


@router.post("/search", responses=documented(400, 413))
async def search_by_text(request: Request, question: TextQuestion) -> Answer:
    """The images that a text fits best."""
    found = await _service(request).text(
        question.text, question.top, question.skip, question.filters.condition(), question.sentences
    )
    return _answer(request, found, "text")


@router.post("/search/image", responses=documented(400, 413))
async def search_by_image(request: Request, picture: UploadFile, page: Annotated[FilteredPage, Query()]) -> Answer:
    """The images that are most like one that is sent."""
    found = await _service(request).image(picture.file, page.top, page.skip, page.condition())
    return _answer(request, found, "image")


class LikeQuestion(FilteredPage):
    """An image of the index to find the like of."""

    id: Id


@router.get("/like", responses=documented(404))
async def search_alike(request: Request, page: Annotated[LikeQuestion, Query()]) -> Answer:
    """The images that are most like one of the index."""
    found = await _service(request).like(page.id, page.top, page.skip, page.condition())
    return _answer(request, found, "like")


@router.get("/image", responses={**_JPEG, **documented(404)}, response_class=Response)
async def image(request: Request, id: Annotated[str, Query(min_length=1, max_length=2000)], size: Size) -> Response:
    """An image of the index, upright, as JPEG."""
    made = await _service(request).picture(id, size)
    headers = {"ETag": made.etag, **_CACHE}
    if request.headers.get("if-none-match") == made.etag:
        return Response(status_code=304, headers=headers)
    return Response(made.jpeg, media_type="image/jpeg", headers=headers)


@router.post("/explain", responses=documented(400, 404, 413))
async def explain_match(request: Request, question: ExplainQuestion) -> ExplainAnswer:
    """Sentence by sentence, which part of an image of the index a text means, and how well it is met."""
    return await _service(request).explain(question.id, question.text)


def _answer(request: Request, found: Found, kind: str) -> Answer:
    return Answer.of(found, _service(request).latency[kind])
