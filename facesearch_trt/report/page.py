"""How a page is answered: a template with its session, or a redirect."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .context import access_of
from .forms import Form, form_of, session_of
from .rendering import environment
from .service import Service

__all__ = ["FormHere", "page", "to"]


async def _form(request: Request) -> Form:
    return await form_of(request)


FormHere = Annotated[Form, Depends(_form)]
"""Parameter of an endpoint: the form that was sent."""


def page(request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a page made from a template."""
    session, access = session_of(request), access_of(request)
    undoable = None
    service: Service = request.app.state.service
    if session.trusted:
        undoable = service.undoable()
    text = (
        environment()
        .get_template(template)
        .render(
            csrf=session.csrf,
            path=request.url.path,
            has_token=access.token is not None and session.trusted,
            trusted=session.trusted,
            undoable=undoable,
            **content,
        )
    )
    response = HTMLResponse(text, status)
    session.set_cookie(access, response, secure=request.url.scheme == "https")
    return response


def to(address: str) -> Response:
    """Return the way to another page."""
    return RedirectResponse(address, status_code=303)
