"""What the REST API takes, and what it says of the server, its jobs and its changes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..erasing import Erased
from .jobs import Job
from .schemas import ClipId
from .views import shown

__all__ = [
    "NOT_THERE",
    "REFUSED",
    "ErasedOut",
    "FaceId",
    "IgnoredIn",
    "JobDetailOut",
    "JobOut",
    "MergeIn",
    "NameIn",
    "PersonId",
    "Problem",
    "RunIn",
    "SessionOut",
    "SplitIn",
    "StatusOut",
    "UndoOut",
]

PersonId = Annotated[int, Field(ge=0, lt=1 << 53, description="`person_id`, as in people.csv")]
FaceId = Annotated[int, Field(ge=0, lt=1 << 31)]


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "it cannot be read"},
    401: {"model": Problem, "description": "a token is needed"},
    403: {"model": Problem, "description": "the CSRF token is missing or wrong"},
    409: {"model": Problem, "description": "something else is at work on it, or its files cannot be used"},
    413: {"model": Problem, "description": "too large"},
    422: {"model": Problem, "description": "it cannot be done as asked"},
    503: {"model": Problem, "description": "too busy, or a network cannot be loaded"},
}
"""Answers that every call may give."""

NOT_THERE: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "there is no such thing"}}
"""Further answer of a call that names something."""


class SessionOut(BaseModel):
    """What changes have to send along."""

    csrf: str = Field(description="send it as `X-CSRF-Token`, with the cookie that came along")


class StatusOut(BaseModel):
    """What this server serves."""

    version: str
    root: str
    clips: int
    finished: int
    people: int
    index_problem: str | None = Field(description="why the index was not updated; null where it was")


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JobOut(BaseModel):
    """A run of the program."""

    job: int
    title: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    at: str
    status: int | None = Field(description="exit status: 0 all done, 1 something failed, 2 wrong use")
    progress: float = Field(description="0 to 1")

    @classmethod
    def of(cls, job: Job) -> JobOut:
        """Return a job."""
        return cls(**_job(job))


class JobDetailOut(JobOut):
    """A run of the program, with its last lines."""

    log: list[str]
    dropped: int = Field(description="lines before those")

    @classmethod
    def of(cls, job: Job) -> JobDetailOut:
        """Return a job with its log."""
        return cls(**_job(job), log=list(job.log), dropped=job.dropped)


def _job(job: Job) -> dict[str, Any]:
    return {
        "job": job.number,
        "title": job.title,
        "state": job.state,
        "at": job.at,
        "status": job.status,
        "progress": round(job.progress, 4),
    }


class NameIn(_In):
    """A person's name."""

    name: str = Field(max_length=200, description="one line; empty takes the name away")


class IgnoredIn(_In):
    """Whether people are left out of lists."""

    people: list[PersonId] = Field(min_length=1, max_length=10_000)
    ignored: bool


class MergeIn(_In):
    """People who are one."""

    people: list[PersonId] = Field(min_length=2, max_length=1000)


class _Face(_In):
    clip_id: ClipId
    face_id: FaceId


class SplitIn(_In):
    """Faces that are another person."""

    faces: list[_Face] = Field(min_length=1, max_length=10_000)


class RunIn(_In):
    """How clips are processed: what is left out or null is as the last time."""

    every: int | None = Field(None, ge=1, le=1_000_000, description="use every N-th frame")
    frames: Literal["all", "faces", "none"] | None = Field(None, description="which pictures of frames to keep")
    crops: bool | None = Field(None, description="keep pictures of faces")
    force: bool = Field(False, description="do finished clips again")
    redo: bool = Field(
        False, description="go on where other options than the last time mean doing finished clips again"
    )


class UndoOut(BaseModel):
    """A correction that was, or can be, taken back."""

    at: str
    what: str


class ErasedOut(BaseModel):
    """What was erased, and what is still there."""

    clips: list[str]
    faces: int
    crops: int
    index_rows: int
    people_entries: int
    names: list[str]
    pictures_left: int = Field(description="pictures of whole frames that still show the person")
    made_before: list[str] = Field(description="reports and exports that may still show the person")

    @classmethod
    def of(cls, erased: Erased) -> ErasedOut:
        """Return what was erased."""
        return cls(
            clips=[shown(clip) for clip in erased.clips],
            faces=erased.faces,
            crops=erased.crops,
            index_rows=erased.index_rows,
            people_entries=erased.people_entries,
            names=[shown(name) for name in erased.names],
            pictures_left=erased.pictures_left,
            made_before=[shown(path) for path in erased.made_before],
        )
