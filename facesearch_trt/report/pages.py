"""The pages of people and clips, and the way in: every one is whole without scripts, every change is a form that ends with a redirect."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.responses import Response

from .api import chosen_people
from .context import ServiceHere, access_of, clip_or_404, person_or_404
from .forms import Form, checked_form, session_of
from .page import FormHere, page, to
from .rendering import local_path
from .security import Session
from .service import Service
from .together import companions_of
from .views import PersonView, Seen

__all__ = [
    "api",
    "clip",
    "clips",
    "delete",
    "delete_clip",
    "ignore",
    "log_in",
    "log_out",
    "login",
    "merge",
    "name",
    "person",
    "router",
    "split",
    "sure",
    "sure_of_clip",
    "undo",
    "wall",
]

_ON_A_PAGE = 120
"""People."""

router = APIRouter(include_in_schema=False, dependencies=[Depends(checked_form)])


TimeQuery = Annotated[float | None, Query(ge=-1e9, le=1e9, allow_inf_nan=False)]
Number = Annotated[int, Query(ge=1, le=1_000_000)]


@router.get("/")
def wall(
    request: Request,
    service: ServiceHere,
    q: Annotated[str, Query(max_length=200)] = "",
    ignored: bool = False,
    n: Number = 1,
) -> Response:
    """Everybody, those longest on screen first."""
    snapshot = service.snapshot()
    chosen = chosen_people(snapshot, q, ignored=ignored)
    pages = max(1, -(-len(chosen) // _ON_A_PAGE))
    n = min(n, pages)
    return page(
        request,
        "wall.html",
        people=chosen[(n - 1) * _ON_A_PAGE : n * _ON_A_PAGE],
        total=len(chosen),
        hidden=len(snapshot.people) - len(snapshot.reported),
        clips=snapshot.clips,
        q=q,
        ignored=ignored,
        n=n,
        pages=pages,
    )


@router.get("/people/{person_id}")
def person(request: Request, service: ServiceHere, person_id: int) -> Response:
    """A person: all appearances, and what can be done."""
    found = person_or_404(service, person_id)
    if found.person_id != person_id:
        return to(f"/people/{found.person_id}")
    snapshot = service.snapshot()
    return page(
        request,
        "person.html",
        person=found,
        alike=service.alike(found, 4),
        together=companions_of(found, snapshot)[:8],
        everybody=snapshot.reported[:1000],
    )


@router.get("/people/{person_id}/delete")
def sure(request: Request, service: ServiceHere, person_id: int) -> Response:
    """What deleting a person removes."""
    return page(request, "delete.html", person=person_or_404(service, person_id))


@router.post("/people/{person_id}/delete")
def delete(request: Request, service: ServiceHere, person_id: int) -> Response:
    """Delete a person, and say what was removed and what is left."""
    found = person_or_404(service, person_id)
    assert found.person_id is not None
    return page(request, "deleted.html", label=found.label, erased=service.delete_person(found.person_id))


@router.post("/people/{person_id}/name")
def name(service: ServiceHere, person_id: int, form: FormHere) -> Response:
    """Name a person."""
    person_or_404(service, person_id)
    service.name(person_id, form.text("name"))
    return to(f"/people/{person_id}")


@router.post("/people/{person_id}/split")
def split(service: ServiceHere, person_id: int, form: FormHere) -> Response:
    """Split some faces off."""
    person_or_404(service, person_id)
    faces = []
    for text in form.texts("face"):
        clip_id, _, face_id = text.partition(":")
        if not (face_id.isascii() and face_id.isdecimal() and len(face_id) < 10):
            raise HTTPException(422, "a face is CLIP-ID:FACE_ID")
        faces.append((clip_or_404(service, clip_id).id, int(face_id)))
    service.split(person_id, faces)
    found = service.snapshot().who.get(faces[0])
    return to(f"/people/{person_id if found is None else found.person_id}")


@router.post("/people/merge")
def merge(service: ServiceHere, form: FormHere) -> Response:
    """Merge the chosen people."""
    people = _people(service, form)
    service.merge(people)
    return to(f"/people/{service.person(min(people)).person_id}")


@router.post("/people/ignore")
def ignore(service: ServiceHere, form: FormHere) -> Response:
    """Ignore the chosen people, or take them back."""
    people, back = _people(service, form), form.text("back") == "1"
    service.ignore(people, ignored=not back)
    return to(f"/people/{people[0]}" if len(people) == 1 else "/")


@router.post("/undo")
def undo(service: ServiceHere) -> Response:
    """Take the last correction back."""
    undone = service.undo()
    people = [one for one in undone.people if one in service.snapshot().person_of]
    return to(f"/people/{people[0]}" if len(people) == 1 else "/")


def _people(service: Service, form: Form) -> list[int]:
    texts = form.texts("person")
    if not texts or not all(text.isascii() and text.isdecimal() and len(text) < 16 for text in texts):
        raise HTTPException(422, "choose people first")
    found = [person_or_404(service, int(text)).person_id for text in dict.fromkeys(texts)]
    return [one for one in found if one is not None]


@router.get("/clips")
def clips(request: Request, service: ServiceHere) -> Response:
    """All clips."""
    snapshot = service.snapshot()
    return page(request, "clips.html", clips=snapshot.clips, who=snapshot.who)


@router.get("/clips/{clip_id}")
def clip(request: Request, service: ServiceHere, clip_id: str, t: TimeQuery = None) -> Response:
    """A clip: its video, and a timeline of who is in it."""
    found, snapshot = clip_or_404(service, clip_id), service.snapshot()
    rows: list[tuple[PersonView, Seen]] = []
    for match in found.matches:
        person = snapshot.who[found.id, match.face_id]
        if not person.ignored:
            rows.append((person, Seen(found, match)))
    rows.sort(key=lambda row: -row[1].seconds)
    return page(request, "clip.html", clip=found, rows=rows, t=t)


@router.get("/clips/{clip_id}/delete")
def sure_of_clip(request: Request, service: ServiceHere, clip_id: str) -> Response:
    """What deleting a clip's results removes."""
    return page(request, "delete_clip.html", clip=clip_or_404(service, clip_id))


@router.post("/clips/{clip_id}/delete")
def delete_clip(request: Request, service: ServiceHere, clip_id: str) -> Response:
    """Delete a clip's results."""
    found = clip_or_404(service, clip_id)
    return page(request, "deleted.html", label=found.label, erased=service.delete_clip(clip_id))


@router.get("/api")
def api(request: Request) -> Response:
    """The API in words."""
    schema = request.app.openapi()
    calls = [
        (method.upper(), address, call)
        for address, methods in schema["paths"].items()
        for method, call in methods.items()
    ]
    return page(request, "api.html", calls=calls)


@router.get("/login")
def login(request: Request, next: str = "/") -> Response:
    """Where the token is asked for."""
    if session_of(request).trusted:
        return to(local_path(next))
    return page(request, "login.html", next=local_path(next), wrong=False)


@router.post("/login")
def log_in(request: Request, form: FormHere) -> Response:
    """Begin a session for whoever has the token."""
    access = access_of(request)
    if not access.is_token(form.text("token").strip()):
        return page(request, "login.html", 403, next=local_path(form.text("next")), wrong=True)
    response = to(local_path(form.text("next")))
    Session.new(access, trusted=True).set_cookie(access, response, secure=request.url.scheme == "https")
    return response


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End a session in this browser."""
    response = to("/login")
    response.delete_cookie(access_of(request).cookie, path="/")
    return response
