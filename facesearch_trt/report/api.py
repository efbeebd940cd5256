"""The REST API: what the pages can do, as JSON. ``/api/openapi.json`` describes it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from .. import __version__
from . import bodies
from . import schemas as of
from .bodies import NOT_THERE, REFUSED
from .context import ServiceHere, access_of, clip_or_404, person_or_404
from .forms import checked_api, session_of
from .runs import Redo, RunRequest
from .views import Snapshot, shown

__all__ = [
    "MOST_SECONDS",
    "boxes",
    "cancel",
    "chosen_people",
    "clip",
    "clips",
    "correction",
    "delete_clip",
    "delete_person",
    "ignored",
    "job",
    "jobs",
    "merge",
    "name",
    "people",
    "person",
    "report",
    "router",
    "run",
    "session",
    "split",
    "status",
    "undo",
]

MOST_SECONDS = 120.0
"""Of boxes at once."""

router = APIRouter(prefix="/api", dependencies=[Depends(checked_api)], responses=REFUSED)
ClipIdPath = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
PersonIdPath = Annotated[int, Path(ge=0, lt=1 << 53)]
JobPath = Annotated[int, Path(ge=0, lt=1 << 31)]


@router.get("/session", tags=["server"])
def session(request: Request, response: Response) -> bodies.SessionOut:
    """Get the CSRF token that changes need, with its cookie. With a bearer token it is not needed."""
    session_of(request).set_cookie(access_of(request), response, secure=request.url.scheme == "https")
    return bodies.SessionOut(csrf=session_of(request).csrf)


@router.get("/status", tags=["server"])
def status(service: ServiceHere) -> bodies.StatusOut:
    """Get what this server serves."""
    snapshot = service.snapshot()
    return bodies.StatusOut(
        version=__version__,
        root=shown(str(service.root)),
        clips=len(snapshot.clips),
        finished=sum(clip.record is not None for clip in snapshot.clips),
        people=len(snapshot.reported),
        index_problem=service.keeper.problem,
    )


@router.get("/people", tags=["people"])
def people(
    service: ServiceHere,
    q: Annotated[str, Query(max_length=200, description="only people whose name or id contains it")] = "",
    ignored: Annotated[bool, Query(description="also people who are ignored")] = False,
    offset: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> of.PeopleOut:
    """List people, those longest on screen first."""
    chosen = chosen_people(service.snapshot(), q, ignored=ignored)
    return of.PeopleOut(
        total=len(chosen), people=[of.PersonOut.of(person) for person in chosen[offset : offset + limit]]
    )


def chosen_people(snapshot: Snapshot, q: str, *, ignored: bool) -> list[Any]:
    """Return the people whose name or id contains a text."""
    wanted = q.strip().casefold()
    everybody = snapshot.people if ignored else snapshot.reported
    return [one for one in everybody if wanted in one.label.casefold() or wanted == one.key]


@router.get("/people/{person_id}", tags=["people"], responses=NOT_THERE)
def person(service: ServiceHere, person_id: PersonIdPath) -> of.PersonDetailOut:
    """Get a person with all appearances."""
    return of.PersonDetailOut.of(person_or_404(service, person_id))


@router.put("/people/{person_id}/name", tags=["people"], responses=NOT_THERE)
def name(service: ServiceHere, person_id: PersonIdPath, body: bodies.NameIn) -> of.PersonOut:
    """Name a person."""
    person_or_404(service, person_id)
    service.name(person_id, body.name)
    return of.PersonOut.of(person_or_404(service, person_id))


@router.post("/people/ignored", tags=["people"], status_code=204)
def ignored(service: ServiceHere, body: bodies.IgnoredIn) -> None:
    """Leave people out of lists and of the index, or take them back."""
    service.ignore(body.people, ignored=body.ignored)


@router.post("/people/merge", tags=["people"])
def merge(service: ServiceHere, body: bodies.MergeIn) -> of.PersonOut:
    """Decide that people are one; the smallest id stays."""
    service.merge(body.people)
    return of.PersonOut.of(person_or_404(service, body.people[0]))


@router.post("/people/{person_id}/split", tags=["people"], responses=NOT_THERE)
def split(service: ServiceHere, person_id: PersonIdPath, body: bodies.SplitIn) -> of.PersonOut:
    """Decide that some faces of a person are another one; returns the other one."""
    person_or_404(service, person_id)
    service.split(person_id, [(face.clip_id, face.face_id) for face in body.faces])
    found = service.snapshot().who.get((body.faces[0].clip_id, body.faces[0].face_id))
    if found is None:
        raise HTTPException(409, "the face is gone meanwhile")
    return of.PersonOut.of(found)


@router.delete("/people/{person_id}", tags=["people"], responses=NOT_THERE)
def delete_person(service: ServiceHere, person_id: PersonIdPath) -> bodies.ErasedOut:
    """Erase a person from results, tables of people and index. This cannot be taken back."""
    person_or_404(service, person_id)
    return bodies.ErasedOut.of(service.delete_person(person_id))


@router.get("/correction", tags=["people"])
def correction(service: ServiceHere) -> bodies.UndoOut | None:
    """Get the last correction if it can be taken back, else null."""
    found = service.undoable()
    return None if found is None else bodies.UndoOut(at=found.at, what=shown(found.what))


@router.delete("/correction", tags=["people"])
def undo(service: ServiceHere) -> bodies.UndoOut:
    """Take the last correction back."""
    undone = service.undo()
    return bodies.UndoOut(at=undone.at, what=shown(undone.what))


@router.get("/clips", tags=["clips"])
def clips(service: ServiceHere) -> list[of.ClipOut]:
    """List clips."""
    return [of.ClipOut.of(clip) for clip in service.snapshot().clips]


@router.get("/clips/{clip_id}", tags=["clips"], responses=NOT_THERE)
def clip(service: ServiceHere, clip_id: ClipIdPath) -> of.ClipDetailOut:
    """Get a clip with who is in it, and when."""
    return of.ClipDetailOut.of(clip_or_404(service, clip_id))


@router.delete("/clips/{clip_id}", tags=["clips"], responses=NOT_THERE)
def delete_clip(service: ServiceHere, clip_id: ClipIdPath) -> bodies.ErasedOut:
    """Remove a clip's results, but not the clip itself. This cannot be taken back."""
    clip_or_404(service, clip_id)
    return bodies.ErasedOut.of(service.delete_clip(clip_id))


@router.get("/clips/{clip_id}/boxes", tags=["clips"], responses=NOT_THERE)
def boxes(
    service: ServiceHere,
    clip_id: ClipIdPath,
    from_s: Annotated[float, Query(ge=-1e9, le=1e9, allow_inf_nan=False)] = 0.0,
    to_s: Annotated[
        float, Query(ge=-1e9, le=1e9, allow_inf_nan=False, description=f"no more than {MOST_SECONDS:.0f} s later")
    ] = 20.0,
) -> of.BoxesOut:
    """Get the faces of a stretch of time, frame by frame."""
    clip = clip_or_404(service, clip_id)
    if clip.record is None:
        raise HTTPException(404, "this clip is not finished")
    found, to_s = service.boxes.of(clip.directory), min(to_s, from_s + MOST_SECONDS)
    first, last = found.between(from_s, to_s)
    people = {match.face_id: (clip.id, match.face_id) for match in clip.matches}
    who = service.snapshot().who
    ignored = {face_id for face_id, key in people.items() if key in who and who[key].ignored}
    faces: list[list[tuple[int, float, float, float, float]]] = [[] for _ in range(max(0, last - first))]
    rows = found.faces_of(first, last)
    for frame, face_id, box in zip(
        found.face_frame[rows].tolist(), found.face_ids[rows].tolist(), found.boxes[rows].tolist(), strict=True
    ):
        if face_id >= 0 and face_id not in ignored:
            x1, y1, x2, y2 = (round(side, 1) for side in box)
            faces[frame - first].append((face_id, x1, y1, x2, y2))
    return of.BoxesOut(
        width=found.width,
        height=found.height,
        from_s=from_s,
        to_s=to_s,
        frame_num=found.frame_num[first:last].tolist(),
        pts_s=found.pts_s[first:last].tolist(),
        faces=faces,
        people={str(face_id): who[key].label for face_id, key in people.items() if key in who},
    )


@router.get("/jobs", tags=["jobs"])
def jobs(service: ServiceHere) -> list[bodies.JobOut]:
    """List runs of the program that were started here, the latest first."""
    return [bodies.JobOut.of(job) for job in service.jobs.all()]


@router.post("/jobs/run", tags=["jobs"], status_code=202)
def run(service: ServiceHere, body: bodies.RunIn) -> bodies.JobOut:
    """Process all clips that are not finished. 409 where other options mean that finished ones are done again: `redo`."""
    job = service.run(RunRequest(**body.model_dump()))
    if isinstance(job, Redo):
        detail = f"{len(job.clips)} finished clips would be done again ({', '.join(job.changes) or 'they changed'})"
        raise HTTPException(409, f"{detail}: say so with redo")
    return bodies.JobOut.of(job)


@router.post("/jobs/report", tags=["jobs"], status_code=202)
def report(service: ServiceHere) -> bodies.JobOut:
    """Write report.html."""
    return bodies.JobOut.of(service.make_report())


@router.get("/jobs/{number}", tags=["jobs"], responses=NOT_THERE)
def job(service: ServiceHere, number: JobPath) -> bodies.JobDetailOut:
    """Get a job with its log."""
    found = service.jobs.get(number)
    if found is None:
        raise HTTPException(404, "there is no such job")
    return bodies.JobDetailOut.of(found)


@router.delete("/jobs/{number}", tags=["jobs"], responses=NOT_THERE)
def cancel(service: ServiceHere, number: JobPath) -> bodies.JobOut:
    """End a job; finished clips are kept."""
    found = service.jobs.get(number)
    if found is None:
        raise HTTPException(404, "there is no such job")
    service.jobs.cancel(found)
    return bodies.JobOut.of(found)
