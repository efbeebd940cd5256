"""The page that a photo is dropped on, and what it finds."""

from __future__ import annotations

from collections import defaultdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from ..search.index import Answer
from .answers import FoundOut
from .context import ServiceHere, searches_of
from .finder import Choice
from .forms import Form, checked_form
from .page import page
from .views import Snapshot

__all__ = ["router", "search", "search_page"]

router = APIRouter(include_in_schema=False)
"""A form with photos is not read before its turn, so its CSRF token is looked at only then."""


@router.get("/search")
def search_page(request: Request, service: ServiceHere) -> Response:
    """Where a photo is dropped."""
    return _results(request, service.snapshot(), None)


@router.post("/search")
async def search(request: Request, service: ServiceHere) -> Response:
    """What a photo finds. Photos are kept in memory for the search and not stored."""

    def work(form: Form) -> Response:
        answer = service.search(
            form.files("photo"), face=form.whole("face"), clip_ids=form.texts("clip_id"), top=40, least=None
        )
        return _results(request, service.snapshot(), answer)

    return await searches_of(request).answer(request, checked_form, work)


def _results(request: Request, snapshot: Snapshot, answer: Answer | Choice | None) -> Response:
    choice = answer if isinstance(answer, Choice) else None
    found = answer if isinstance(answer, Answer) else None
    nearest = None
    groups: dict[str, list[FoundOut]] = defaultdict(list)
    if found is not None:
        for one in found.found:
            shown = FoundOut.of(one, snapshot)
            if shown is not None:
                person = snapshot.who.get((shown.clip_id, shown.face_id))
                if person is None or not person.ignored:
                    groups[f"{shown.clip_id}:{shown.face_id}" if person is None else person.key].append(shown)
        if found.nearest is not None:
            nearest = FoundOut.of(found.nearest, snapshot)
    return page(
        request,
        "search.html",
        answer=found,
        choice=choice,
        groups=[(snapshot.who.get((parts[0].clip_id, parts[0].face_id)), parts) for parts in groups.values()],
        nearest=nearest,
        nearest_person=None if nearest is None else snapshot.who.get((nearest.clip_id, nearest.face_id)),
        clips=snapshot.clips,
    )
