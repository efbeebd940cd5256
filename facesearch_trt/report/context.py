"""What every page and API call gets at: the service of this server, and what it looks up in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar, cast

import anyio
import anyio.to_thread
from fastapi import Depends, HTTPException, Request

from ..errors import InputError
from .forms import Form, form_of
from .security import Access
from .service import Service
from .views import ClipView, PersonView

__all__ = ["Searches", "ServiceHere", "access_of", "clip_or_404", "person_or_404", "searches_of"]

T = TypeVar("T")

_MORE_FORMS = 4
_UPLOAD_S = 120.0
"""For 32 MB that is 2 Mbit/s."""


class Searches:
    """Lets as many searches work at once as there are cores, and some wait; the others are told to come back.

    A search that waits for its turn keeps no photos in memory: they are read only then, of a few searches at once.
    """

    def __init__(self, at_once: int, *, waiting: int = 100) -> None:
        self._threads = anyio.CapacityLimiter(at_once)
        # Some more, so that a slow upload does not keep a core from work.
        self._forms = anyio.CapacityLimiter(at_once + _MORE_FORMS)
        self._waiting = waiting
        self._here = 0

    async def answer(
        self, request: Request, check: Callable[[Request], Awaitable[None]] | None, work: Callable[[Form], T]
    ) -> T:
        """Read a search's form, have it checked, and return what ``work``, in a thread, makes of it.

        Raises HTTPException 503 where too many wait, 408 where the form is too long in coming, and what the others raise.
        """
        if self._here >= self._threads.total_tokens + self._waiting:
            raise HTTPException(503, "too many searches at once: try again in a moment", {"retry-after": "2"})
        self._here += 1
        try:
            async with self._forms:
                try:
                    with anyio.fail_after(_UPLOAD_S):
                        if check is not None:
                            await check(request)
                        form = await form_of(request)
                except TimeoutError:
                    raise HTTPException(408, f"the photos took longer than {_UPLOAD_S:.0f} s to arrive") from None
                return await anyio.to_thread.run_sync(work, form, limiter=self._threads)
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
