"""Everything that goes wrong, as one shape of JSON: what is wrong, and the mend.

Messages of ours about the client's own input are passed on. What else fails concerns whoever runs the server: it is
logged there in full, and the client learns only that much, as such messages name places on this machine.
"""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from fastgoal.errors import ConfigError, DataError, FastgoalError
from fastgoal.search.searcher import NotInIndexError
from fastgoal.search.service.lanes import BusyError
from fastgoal.search.service.uploads import UploadError

LOG = logging.getLogger("fastgoal.serve")
_ASK = "Tell whoever runs this server; its messages say more."


class Problem(BaseModel):
    """What is wrong, and what can be done about it."""

    error: str
    mend: str | None = None


class ImageGoneError(Exception):
    """An image of the index cannot be read any more where the index says it lies."""


def response(
    status: int, error: str, mend: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem as an answer. Texts of clients may hold halves of characters, which no answer can."""
    safe = {"error": _whole(error), "mend": mend and _whole(mend)}
    return JSONResponse(safe, status, headers=dict(headers or {}))


def _whole(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    """For the API's description: these answers are problems."""
    return {code: {"model": Problem} for code in codes}


def add_handlers(app: FastAPI) -> None:
    """Turns what routes raise into answers."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(BusyError, _busy)
    app.add_exception_handler(ImageGoneError, _gone)
    app.add_exception_handler(FastgoalError, _ours)
    app.add_exception_handler(Exception, _defect)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    what = str(first["msg"]).removeprefix("Value error, ")
    return response(422, f"{where}: {what}" if where else what, "The API's description (/api/openapi.json) says more.")


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    mend = "See /api/openapi.json for what there is." if error.status_code in (404, 405) else None
    return response(error.status_code, str(error.detail), mend, error.headers)


def _busy(request: Request, error: Exception) -> JSONResponse:
    return response(503, "too many others are being served", "Try again in a moment.", {"Retry-After": "2"})


def _gone(request: Request, error: Exception) -> JSONResponse:
    LOG.warning("%s", error.__cause__)
    return response(404, "this image cannot be read where the index says it lies", _ASK)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FastgoalError)
    if isinstance(error, NotInIndexError):
        return response(404, error.what, error.mend)
    if isinstance(error, ConfigError | UploadError):
        return response(422, error.what, error.mend)
    LOG.error("%s", error)
    kind = "the index" if isinstance(error, DataError) else "the model"
    return response(503, f"{kind} cannot be used just now", _ASK)


def _defect(request: Request, error: Exception) -> JSONResponse:
    return response(500, "a defect of the server", _ASK)  # the traceback is logged
