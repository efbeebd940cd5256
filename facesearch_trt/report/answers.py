"""What a search by photo found, as the REST API gives it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ..search.confidence import Odds
from ..search.index import Answer, Found
from .finder import Choice
from .schemas import AppearanceOut, ClipId
from .views import Snapshot

__all__ = [
    "AnswerOut",
    "ChoiceFaceOut",
    "ChoiceOut",
    "FoundOut",
    "OddsOut",
]


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
