"""What every page and API call gets at: the service of this server, and what it looks up in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import anyio.to_thread
from fastapi import Depends, HTTPException, Request

from ..errors import InputError
from ..search.index import Answer
from .finder import Choice
from .library import ClipView, PersonView
from .security import Access
from .service import Service

__all__ = ["Searches", "ServiceHere", "access_of", "clip_or_404", "person_or_404", "searches_of"]


class Searches:
    """Lets as many searches work at once as there are cores, and some wait; the others are told to come back."""

    def __init__(self, at_once: int, *, waiting: int = 100) -> None:
        self._limiter = anyio.CapacityLimiter(at_once)
        self._waiting = waiting
        self._here = 0

    async def search(
        self,
        service: Service,
        photos: Sequence[bytes],
        *,
        face: int | None,
        clip_ids: Sequence[str],
        top: int,
        least: float | None,
    ) -> Answer | Choice:
        """Search in a thread. Raises HTTPException 503 where too many wait, and what :meth:`Service.search` raises."""
        if self._here >= self._limiter.total_tokens + self._waiting:
            raise HTTPException(503, "too many searches at once: try again in a moment", {"retry-after": "2"})
        self._here += 1
        try:
            return await anyio.to_thread.run_sync(
                lambda: service.search(photos, face=face, clip_ids=clip_ids, top=top, least=least),
                limiter=self._limiter,
            )
        finally:
            self._here -= 1


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceHere = Annotated[Service, Depends(_service)]
"""Parameter of an endpoint: the service."""


def access_of(request: Request) -> Access:
    """Return who is let in."""
    return cast(Access, request.app.state.access)


def searches_of(request: Request) -> Searches:
    """Return what limits the searches."""
    return cast(Searches, request.app.state.searches)


def clip_or_404(service: Service, clip_id: str) -> ClipView:
    """Return a clip. Raises HTTPException 404."""
    try:
        return service.clip(clip_id)
    except InputError as error:
        raise HTTPException(404, error.what) from error


def person_or_404(service: Service, person_id: int) -> PersonView:
    """Return a person. Raises HTTPException 404."""
    try:
        return service.person(person_id)
    except InputError as error:
        raise HTTPException(404, error.what) from error
