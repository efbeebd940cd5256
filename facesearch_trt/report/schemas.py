"""What the REST API takes and gives; the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..erasing import Erased
from ..search.confidence import Odds
from ..search.index import Answer, Found
from ..search.matches import Appearance
from .finder import Choice
from .jobs import Job
from .library import ClipView, PersonView, Seen, Snapshot, shown

__all__ = [
    "AnswerOut",
    "AppearanceOut",
    "BoxesOut",
    "ChoiceOut",
    "ClipDetailOut",
    "ClipOut",
    "ErasedOut",
    "FaceId",
    "FoundOut",
    "IgnoredIn",
    "JobDetailOut",
    "JobOut",
    "MergeIn",
    "NameIn",
    "PeopleOut",
    "PersonDetailOut",
    "PersonId",
    "PersonOut",
    "Problem",
    "RunIn",
    "SeenOut",
    "SessionOut",
    "SplitIn",
    "StatusOut",
    "UndoOut",
]

PersonId = Annotated[int, Field(ge=0, lt=1 << 53, description="`person_id`, as in people.csv")]
FaceId = Annotated[int, Field(ge=0, lt=1 << 31)]
ClipId = Annotated[str, Field(pattern="^[0-9a-f]{16}$", description="stands for a clip in addresses")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


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


class PictureOut(BaseModel):
    """The best picture of a stretch of time."""

    pts_s: float
    frame_num: int
    box: tuple[float, float, float, float] = Field(description="x1 y1 x2 y2, px of the frame")
    quality: float
    url: str | None = Field(description="the aligned face; null where none was kept")


class AppearanceOut(BaseModel):
    """A stretch of time on screen."""

    start_s: float
    end_s: float
    faces: int
    similarity: float | None = None
    evidence: Literal["photo", "person"] | None = Field(
        None, description="of a search: whether this looks like the photo, or is of a person of the clip who does"
    )
    picture: PictureOut
    page: str = Field(description="page that plays the moment")

    @classmethod
    def of(cls, clip_id: str, one: Appearance, *, searched: bool = False) -> AppearanceOut:
        """Return an appearance in a clip."""
        picture = one.picture
        return cls(
            start_s=one.start_s,
            end_s=one.end_s,
            faces=one.faces,
            similarity=one.similarity,
            evidence=one.evidence if searched else None,
            picture=PictureOut(
                pts_s=picture.pts_s,
                frame_num=picture.frame_num,
                box=picture.box,
                quality=picture.quality,
                url=f"/media/{clip_id}/{picture.chip}" if picture.chip else None,
            ),
            page=f"/clips/{clip_id}?t={max(0.0, one.start_s):.3f}",
        )


class SeenOut(BaseModel):
    """A person in a clip."""

    clip_id: ClipId
    clip: str
    face_id: int
    person_id: int | None
    name: str | None
    seconds: float
    appearances: list[AppearanceOut]

    @classmethod
    def of(cls, seen: Seen) -> SeenOut:
        """Return a person in a clip."""
        return cls(
            clip_id=seen.clip.id,
            clip=seen.clip.label,
            face_id=seen.match.face_id,
            person_id=None if seen.match.person_id is None else int(seen.match.person_id),
            name=seen.match.name,
            seconds=seen.seconds,
            appearances=[AppearanceOut.of(seen.clip.id, one) for one in seen.match.appearances],
        )


class PersonOut(BaseModel):
    """A person over all clips."""

    person_id: int | None = Field(description="null where people of all clips were not decided yet")
    name: str | None
    ignored: bool
    clips: int
    appearances: int
    faces: int
    seconds: float = Field(description="time on screen")
    picture: str | None

    @classmethod
    def of(cls, person: PersonView) -> PersonOut:
        """Return a person."""
        return cls(**_person(person))


class PersonDetailOut(PersonOut):
    """A person with all appearances."""

    seen: list[SeenOut]

    @classmethod
    def of(cls, person: PersonView) -> PersonDetailOut:
        """Return a person with all appearances."""
        return cls(**_person(person), seen=[SeenOut.of(one) for one in person.seen])


def _person(person: PersonView) -> dict[str, Any]:
    best = person.best
    chip = best.best.picture.chip
    return {
        "person_id": person.person_id,
        "name": person.name,
        "ignored": person.ignored,
        "clips": len({seen.clip.id for seen in person.seen}),
        "appearances": person.appearances,
        "faces": person.faces,
        "seconds": person.seconds,
        "picture": f"/media/{best.clip.id}/{chip}" if chip else None,
    }


class PeopleOut(BaseModel):
    """A page of the list of people."""

    total: int
    people: list[PersonOut]


class ClipOut(BaseModel):
    """A clip."""

    clip_id: ClipId
    clip: str
    kind: Literal["video", "images"] | None = Field(description="null where only its results are there")
    finished: bool
    problem: str | None = Field(description="why it has no results")
    damage: str | None = Field(description="why it ended early or what of it could not be read")
    start_s: float
    end_s: float
    frames: int
    faces: int
    people: int
    video: str | None = Field(description="its video, which can be read in ranges")

    @classmethod
    def of(cls, clip: ClipView) -> ClipOut:
        """Return a clip."""
        return cls(**_clip(clip))


class ClipDetailOut(ClipOut):
    """A clip with who is in it."""

    seen: list[SeenOut]

    @classmethod
    def of(cls, clip: ClipView) -> ClipDetailOut:
        """Return a clip with who is in it."""
        return cls(**_clip(clip), seen=[SeenOut.of(Seen(clip, match)) for match in clip.matches])


def _clip(clip: ClipView) -> dict[str, Any]:
    record = clip.record
    return {
        "clip_id": clip.id,
        "clip": clip.label,
        "kind": None if clip.source is None else clip.source.kind,
        "finished": record is not None,
        "problem": None if clip.problem is None else shown(clip.problem),
        "damage": None if record is None else record.damage,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "frames": 0 if record is None else record.counts.frames,
        "faces": 0 if record is None else record.counts.faces,
        "people": len(clip.matches),
        "video": f"/media/{clip.id}/video" if clip.is_video else None,
    }


class BoxesOut(BaseModel):
    """The faces of a stretch of time, frame by frame."""

    width: int = Field(description="of the clip's frames, px")
    height: int
    from_s: float
    to_s: float
    frame_num: list[int]
    pts_s: list[float]
    faces: list[list[tuple[int, float, float, float, float]]] = Field(
        description="per frame: face_id, x1, y1, x2, y2 in px"
    )
    people: dict[str, str] = Field(description="what each face_id is called")


class OddsOut(BaseModel):
    """What a similarity is worth."""

    one_in: float = Field(description="one in so many strangers would score this")
    at_least: bool
    words: str
    chance_hits: float = Field(description="strangers expected to score this among all that was compared")
    basis: Literal["index", "catalogue"]

    @classmethod
    def of(cls, odds: Odds) -> OddsOut:
        """Return what a similarity is worth."""
        return cls(
            one_in=odds.one_in,
            at_least=odds.at_least,
            words=odds.words(),
            chance_hits=odds.chance_hits,
            basis=odds.basis,
        )


class FoundOut(BaseModel):
    """A person in a clip who resembles the photo."""

    clip_id: ClipId
    clip: str
    face_id: int
    person_id: int | None
    name: str | None
    similarity: float
    confidence: OddsOut
    appearances: list[AppearanceOut]

    @classmethod
    def of(cls, found: Found, snapshot: Snapshot) -> FoundOut | None:
        """Return what was found, under the name that the person has now; None where the clip is gone since."""
        match = found.match
        clip = snapshot.clip_named.get(match.clip)
        if clip is None:
            return None
        person = snapshot.who.get((clip.id, match.face_id))
        return cls(
            clip_id=clip.id,
            clip=clip.label,
            face_id=match.face_id,
            person_id=None if person is None else person.person_id,
            name=None if person is None else person.name,
            similarity=match.similarity or 0.0,
            confidence=OddsOut.of(found.odds),
            appearances=[AppearanceOut.of(clip.id, one, searched=True) for one in match.appearances],
        )


class AnswerOut(BaseModel):
    """What a search by photo found."""

    verdict: Literal["found", "uncertain", "nobody"]
    model: str
    least_similarity: float = Field(description="from here on somebody counts as found")
    tracks_searched: int
    found: list[FoundOut]
    nearest: FoundOut | None = Field(description="where nobody was found: who came closest")
    left_out: int
    warnings: list[str]

    @classmethod
    def of(cls, answer: Answer, snapshot: Snapshot) -> AnswerOut:
        """Return an answer."""
        nearest = None if answer.nearest is None else FoundOut.of(answer.nearest, snapshot)
        return cls(
            verdict=answer.verdict,
            model=answer.model,
            least_similarity=answer.least_similarity,
            tracks_searched=answer.searched,
            found=[one for found in answer.found if (one := FoundOut.of(found, snapshot)) is not None],
            nearest=nearest,
            left_out=answer.left_out,
            warnings=list(answer.warnings),
        )


class ChoiceFaceOut(BaseModel):
    """One face of a photo."""

    number: int
    box: tuple[float, float, float, float]
    picture: str = Field(description="data: URI")


class ChoiceOut(BaseModel):
    """A photo shows several faces: say which one with `face`."""

    detail: str
    photo: int = Field(description="which of the photos, from 0")
    faces: list[ChoiceFaceOut]

    @classmethod
    def of(cls, choice: Choice) -> ChoiceOut:
        """Return the faces to choose from."""
        faces = [ChoiceFaceOut(number=one.number, box=one.box, picture=one.picture) for one in choice.faces]
        return cls(detail="the photo shows several faces: say which one with `face`", photo=choice.photo, faces=faces)


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
    """How clips are processed."""

    every: int = Field(1, ge=1, le=1_000_000, description="use every N-th frame")
    frames: Literal["all", "faces", "none"] = Field("all", description="which pictures of frames to keep")
    crops: bool = Field(True, description="keep pictures of faces")
    force: bool = Field(False, description="do finished clips again")


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
