"""The whole application: routes, page, problems, and the guards around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from fastgoal.search.searcher import Searcher
from fastgoal.search.service.assets import page_router
from fastgoal.search.service.buckets import Buckets
from fastgoal.search.service.guards import guarded
from fastgoal.search.service.problems import add_handlers
from fastgoal.search.service.routes import router
from fastgoal.search.service.service import Service
from fastgoal.search.service.settings import Limits, ServiceSettings

OPENAPI = "/api/openapi.json"


def make_app(searcher: Searcher, settings: ServiceSettings) -> ASGIApp:
    """A service as an ASGI application, for one process. `settings.uri` is not opened: the searcher is what is
    served."""
    limits = settings.limits
    return guarded(
        _bare(searcher, limits),
        hosts=settings.hosts,
        token=settings.token,
        body_bytes=limits.body_bytes,
        buckets=Buckets(limits.rate, limits.burst) if limits.rate else None,
    )


def _bare(searcher: Searcher, limits: Limits) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = Service(searcher, limits)
        yield
        app.state.service.close()

    app = FastAPI(
        title="fastgoal search",
        summary="Images found by a paragraph or by another image.",
        version=version("fastgoal"),
        lifespan=lifespan,
        openapi_url=OPENAPI,
        docs_url=None,  # the usual pages of an API ask other hosts for their scripts
        redoc_url=None,
        redirect_slashes=False,
    )
    add_handlers(app)
    app.include_router(router)
    app.include_router(page_router())
    return app
