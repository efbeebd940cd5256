"""The pages: every one is whole without scripts, every change is a form that ends with a redirect."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..search.index import Answer
from .answers import FoundOut
from .api import chosen_people
from .bodies import JobDetailOut
from .context import ServiceHere, access_of, clip_or_404, person_or_404, searches_of
from .finder import Choice
from .forms import Form, checked_form, form_of, session_of
from .library import PersonView, Seen, Snapshot
from .rendering import environment, local_path
from .runs import Redo, RunRequest, flags_of
from .security import Session
from .service import Service
from .together import companions_of

__all__ = [
    "api",
    "cancel",
    "clip",
    "clips",
    "delete",
    "delete_clip",
    "ignore",
    "job",
    "jobs",
    "log_in",
    "log_out",
    "login",
    "merge",
    "name",
    "page",
    "person",
    "report",
    "router",
    "run",
    "search",
    "search_page",
    "split",
    "sure",
    "sure_of_clip",
    "undo",
    "wall",
]

_ON_A_PAGE = 120
"""People."""

router = APIRouter(include_in_schema=False, dependencies=[Depends(checked_form)])


async def _form(request: Request) -> Form:
    return await form_of(request)


FormHere = Annotated[Form, Depends(_form)]
TimeQuery = Annotated[float | None, Query(ge=-1e9, le=1e9, allow_inf_nan=False)]
Number = Annotated[int, Query(ge=1, le=1_000_000)]


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


def _to(address: str) -> Response:
    return RedirectResponse(address, status_code=303)


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
        return _to(f"/people/{found.person_id}")
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
    return _to(f"/people/{person_id}")


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
    return _to(f"/people/{person_id if found is None else found.person_id}")


@router.post("/people/merge")
def merge(service: ServiceHere, form: FormHere) -> Response:
    """Merge the chosen people."""
    people = _people(service, form)
    service.merge(people)
    return _to(f"/people/{service.person(min(people)).person_id}")


@router.post("/people/ignore")
def ignore(service: ServiceHere, form: FormHere) -> Response:
    """Ignore the chosen people, or take them back."""
    people, back = _people(service, form), form.text("back") == "1"
    service.ignore(people, ignored=not back)
    return _to(f"/people/{people[0]}" if len(people) == 1 else "/")


@router.post("/undo")
def undo(service: ServiceHere) -> Response:
    """Take the last correction back."""
    undone = service.undo()
    people = [one for one in undone.people if one in service.snapshot().person_of]
    return _to(f"/people/{people[0]}" if len(people) == 1 else "/")


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


@router.get("/search")
def search_page(request: Request, service: ServiceHere) -> Response:
    """Where a photo is dropped."""
    return _results(request, service.snapshot(), None)


@router.post("/search")
async def search(request: Request, service: ServiceHere) -> Response:
    """What a photo finds. Photos are kept in memory for the search and not stored."""
    form = await form_of(request)
    answer = await searches_of(request).search(
        service, form.files("photo"), face=form.whole("face"), clip_ids=form.texts("clip_id"), top=40, least=None
    )
    return _results(request, service.snapshot(), answer)


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


@router.get("/jobs")
def jobs(request: Request, service: ServiceHere) -> Response:
    """Runs of the program, and where one is started."""
    options = service.next_options(RunRequest())
    # Those that the form has are not said twice.
    others = flags_of(dataclasses.replace(options, every=1, frames="all", crops=True))
    clips = service.snapshot().clips
    return page(request, "jobs.html", jobs=service.jobs.all(), clips=clips, options=options, others=others)


@router.get("/jobs/{number}")
def job(request: Request, service: ServiceHere, number: int) -> Response:
    """One run: how far it is, and its log."""
    found = service.jobs.get(number)
    if found is None:
        raise HTTPException(404, "there is no such job")
    return page(request, "job.html", job=JobDetailOut.of(found), over=found.over)


@router.post("/jobs/run")
def run(request: Request, service: ServiceHere, form: FormHere) -> Response:
    """Start a run, or ask whether finished clips may be done again."""
    crops, force, redo = (form.text(name) == "1" for name in ("crops", "force", "redo"))
    wanted = RunRequest(form.whole("every"), form.text("frames") or None, crops, force, redo)
    job = service.run(wanted)
    if isinstance(job, Redo):
        return page(request, "redo.html", redo=job, wanted=wanted, clips=service.snapshot().clips)
    return _to(f"/jobs/{job.number}")


@router.post("/jobs/report")
def report(service: ServiceHere) -> Response:
    """Have report.html written."""
    return _to(f"/jobs/{service.make_report().number}")


@router.post("/jobs/{number}/cancel")
def cancel(service: ServiceHere, number: int) -> Response:
    """End a job."""
    found = service.jobs.get(number)
    if found is None:
        raise HTTPException(404, "there is no such job")
    service.jobs.cancel(found)
    return _to(f"/jobs/{number}")


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
        return _to(local_path(next))
    return page(request, "login.html", next=local_path(next), wrong=False)


@router.post("/login")
def log_in(request: Request, form: FormHere) -> Response:
    """Begin a session for whoever has the token."""
    access = access_of(request)
    if not access.is_token(form.text("token").strip()):
        return page(request, "login.html", 403, next=local_path(form.text("next")), wrong=True)
    response = _to(local_path(form.text("next")))
    Session.new(access, trusted=True).set_cookie(access, response, secure=request.url.scheme == "https")
    return response


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End a session in this browser."""
    response = _to("/login")
    response.delete_cookie(access_of(request).cookie, path="/")
    return response
