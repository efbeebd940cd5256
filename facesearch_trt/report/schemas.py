"""People and clips as the REST API gives them; the OpenAPI document is made from these, ``bodies.py`` and ``answers.py``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..search.matches import Appearance
from .views import ClipView, PersonView, Seen, shown

__all__ = [
    "AppearanceOut",
    "BoxesOut",
    "ClipDetailOut",
    "ClipId",
    "ClipOut",
    "PeopleOut",
    "PersonDetailOut",
    "PersonOut",
    "PictureOut",
    "SeenOut",
]

ClipId = Annotated[str, Field(pattern="^[0-9a-f]{16}$", description="stands for a clip in addresses")]


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
        "clips": person.clip_count,
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
