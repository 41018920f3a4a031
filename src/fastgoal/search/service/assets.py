"""The files of the page, read once when the server starts: no request opens a file."""

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

PAGE = "index.html"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def page_files() -> dict[str, bytes]:
    """Name to content."""
    folder = files("fastgoal.search.service") / "page"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES}


def page_router() -> APIRouter:
    """`/` and `/static/NAME`."""
    known = {name: (content, _tag(content)) for name, content in page_files().items()}
    router = APIRouter(include_in_schema=False)

    def answer(name: str, request: Request) -> Response:
        if name not in known:
            raise HTTPException(404, "no such file of the page")
        content, tag = known[name]
        headers = {"ETag": tag, "Cache-Control": "no-cache"}  # ask each time, and be told that nothing changed
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)

    @router.get("/")
    async def page(request: Request) -> Response:
        return answer(PAGE, request)

    @router.get("/static/{name}")
    async def static(request: Request, name: str) -> Response:
        return answer(name, request)

    return router


def _tag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
