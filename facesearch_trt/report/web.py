"""The web application: pages and REST API over one ROOT, for this machine or whoever has the token.

The pages (``report/*pages.py``) and the API (``report/*api.py``) are two faces of ``report/service.py``, ``report/security.py`` stands before
both, and nothing is loaded from anywhere else.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from .. import __version__
from ..errors import BackendError, FaceSearchError, ModelError, UsageError
from . import api, job_pages, media, pages, search_api, search_pages
from .context import Searches
from .page import page
from .rendering import STATIC
from .security import Access, Gate
from .service import Service
from .views import shown

__all__ = ["create_app", "serve"]

_LOG = logging.getLogger(__name__)

_ABOUT = """Who is where, in every clip of one directory: people, clips, search by photo, runs.

Reading needs nothing on this machine; from elsewhere, and for whoever started the server with a token, `Authorization:
Bearer TOKEN`. A change needs that, or the `X-CSRF-Token` and the cookie that `GET /api/session` gives."""


def create_app(service: Service, access: Access) -> Gate:
    """Return the application behind its gate; ``app`` is the application itself. It does not close the service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.searches = Searches(service.finder.at_once)
        yield

    app = FastAPI(
        title="FaceSearch",
        version=__version__,
        description=_ABOUT,
        openapi_url="/api/openapi.json",
        # The usual pages load scripts from a network.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service, app.state.access = service, access
    for router in (api, search_api, media, pages, search_pages, job_pages):
        app.include_router(router.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(FaceSearchError, _known_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _internal_error)
    # Around everything, also around the answer to an internal error.
    return Gate(app, access)


def serve(
    service: Service, access: Access, port: int, *, certificate: str | None = None, key: str | None = None
) -> None:
    """Serve until the process is interrupted."""
    import uvicorn

    config = uvicorn.Config(
        create_app(service, access),
        host=access.host,
        port=port,
        log_level="warning",
        # What a proxy says of the client is of no use here, and could be anybody's word.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=512,
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run()


def _status_of(error: FaceSearchError) -> int:
    # A model's name that is wrong in the options is no fault of the request.
    if isinstance(error, (ModelError, BackendError)):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(error, UsageError) else HTTPStatus.CONFLICT


def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FaceSearchError)
    status = _status_of(error)
    if status != HTTPStatus.UNPROCESSABLE_ENTITY:
        _LOG.warning("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, status, shown(str(error)))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}))


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # What was sent is not repeated: it may be large, or no text.
    parts = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, shown("; ".join(parts)))


def _internal_error(request: Request, _: Exception) -> Response:
    # Starlette raises it again after this answer, and the server logs it.
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal error: see the server's log")


def _answer(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    detail = detail.encode("utf-8", "backslashreplace").decode("utf-8")
    path = request.url.path
    if path.startswith(("/api/", "/media/")):
        return JSONResponse({"detail": detail}, status, headers)
    response = page(request, "error.html", status, title=HTTPStatus(status).phrase, detail=detail)
    response.headers.update(headers or {})
    return response
