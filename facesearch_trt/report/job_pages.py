"""The pages of jobs: runs of the program that are started here."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter, Depends, HTTPException, Request
from starlette.responses import Response

from .bodies import JobDetailOut
from .context import ServiceHere
from .forms import checked_form
from .page import FormHere, page, to
from .runs import Redo, RunRequest, flags_of

__all__ = ["cancel", "job", "jobs", "report", "router", "run"]

router = APIRouter(prefix="/jobs", include_in_schema=False, dependencies=[Depends(checked_form)])


@router.get("")
def jobs(request: Request, service: ServiceHere) -> Response:
    """Runs of the program, and where one is started."""
    options = service.next_options(RunRequest())
    # Those that the form has are not said twice.
    others = flags_of(dataclasses.replace(options, every=1, frames="all", crops=True))
    clips = service.snapshot().clips
    return page(request, "jobs.html", jobs=service.jobs.all(), clips=clips, options=options, others=others)


@router.get("/{number}")
def job(request: Request, service: ServiceHere, number: int) -> Response:
    """One run: how far it is, and its log."""
    found = service.jobs.get(number)
    if found is None:
        raise HTTPException(404, "there is no such job")
    return page(request, "job.html", job=JobDetailOut.of(found), over=found.over)


@router.post("/run")
def run(request: Request, service: ServiceHere, form: FormHere) -> Response:
    """Start a run, or ask whether finished clips may be done again."""
    crops, force, redo = (form.text(name) == "1" for name in ("crops", "force", "redo"))
    wanted = RunRequest(form.whole("every"), form.text("frames") or None, crops, force, redo)
    job = service.run(wanted)
    if isinstance(job, Redo):
        return page(request, "redo.html", redo=job, wanted=wanted, clips=service.snapshot().clips)
    return to(f"/jobs/{job.number}")


@router.post("/report")
def report(service: ServiceHere) -> Response:
    """Have report.html written."""
    return to(f"/jobs/{service.make_report().number}")


@router.post("/{number}/cancel")
def cancel(service: ServiceHere, number: int) -> Response:
    """End a job."""
    found = service.jobs.get(number)
    if found is None:
        raise HTTPException(404, "there is no such job")
    service.jobs.cancel(found)
    return to(f"/jobs/{number}")
