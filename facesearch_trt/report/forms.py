"""Reads forms: in memory only, so that a photo that is searched for is never stored, and with their CSRF token checked."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from .multipart import read_multipart
from .security import Session

__all__ = ["MAX_PHOTOS", "Form", "checked_api", "checked_form", "form_of", "session_of"]

MAX_PHOTOS = 8
"""Photos of one person that are joined at most."""
_MAX_FIELDS = 20_000
"""A form on the wall has a field for each person that is chosen."""
_SAFE = ("GET", "HEAD", "OPTIONS")


class Form:
    """The fields of a form."""

    def __init__(self, fields: list[tuple[str, str | bytes]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Return a field's text; empty where it is not there."""
        return next(iter(self.texts(name)), "")

    def texts(self, name: str) -> list[str]:
        """Return the texts of all fields of a name."""
        return [value for key, value in self._fields if key == name and isinstance(value, str)]

    def whole(self, name: str) -> int | None:
        """Return a field's whole number; None where it is empty. Raises HTTPException 422 for anything else."""
        text = self.text(name).strip()
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise HTTPException(422, f"{name} takes a whole number")
        return int(text)

    def files(self, name: str) -> list[bytes]:
        """Return the content of all files of a name; a file field that was left empty is none."""
        return [value for key, value in self._fields if key == name and isinstance(value, bytes) and value]


def session_of(request: Request) -> Session:
    """Return the session of a request."""
    return cast(Session, request.scope["session"])


async def form_of(request: Request) -> Form:
    """Return a request's form, read once. Raises HTTPException 400 for a malformed one, 415 for what is no form."""
    known: Form | None = getattr(request.state, "form", None)
    if known is not None:
        return known
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            fields = await read_multipart(
                request.headers["content-type"], request.stream(), max_files=MAX_PHOTOS, max_fields=_MAX_FIELDS
            )
        elif kind == "application/x-www-form-urlencoded":
            text = (await request.body()).decode("utf-8", "replace")
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
            fields = [(name, value) for name, value in pairs]
        else:
            raise HTTPException(415, "send a form: multipart/form-data or application/x-www-form-urlencoded")
    except ValueError as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    request.state.form = Form(fields)
    return cast(Form, request.state.form)


async def checked_form(request: Request) -> None:
    """Refuse a change by a form that does not bring its session's CSRF token. Raises HTTPException 403."""
    if request.method in _SAFE:
        return
    given = request.headers.get("x-csrf-token") or (await form_of(request)).text("csrf")
    if not session_of(request).allows(given):
        raise HTTPException(403, "the page is too old or was not made by this server: load it again")


async def checked_api(request: Request) -> None:
    """Refuse a change through the API without the token of ``GET /api/session``, or a bearer token. Raises
    HTTPException 403."""
    if request.method in _SAFE:
        return
    if not session_of(request).allows(request.headers.get("x-csrf-token")):
        raise HTTPException(403, "send X-CSRF-Token as GET /api/session gives it, with its cookie, or a bearer token")
