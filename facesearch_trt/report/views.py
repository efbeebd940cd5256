"""What a ROOT holds, as its report and its web pages show it: clips, people, when each is on screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..exporting import called
from ..search.matches import Appearance, Match
from ..store.record import RunRecord
from ..types import Clip

__all__ = ["ClipView", "PersonView", "Seen", "Snapshot", "shown"]


def shown(text: str) -> str:
    """Return a text that can be encoded: bytes of a file's name that are no UTF-8 become visible escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class ClipView:
    """A clip of a ROOT."""

    id: str
    """16 hexadecimal digits that stand for it in addresses: names may hold anything."""
    name: str
    directory: Path
    source: Clip | None
    """The clip itself; None where only its results are there."""
    record: RunRecord | None
    """What made its results; None where they are not finished."""
    start_s: float
    end_s: float
    matches: tuple[Match, ...]
    """Who is in it, in order of first appearance; also people who are ignored."""
    problem: str | None
    """Why it has no results, or not all."""

    @property
    def label(self) -> str:
        """Its name as it can be shown."""
        return shown(self.name)

    @property
    def seconds(self) -> float:
        """From its first to its last frame."""
        return self.end_s - self.start_s

    @property
    def is_video(self) -> bool:
        """Whether there is a video to play."""
        return self.source is not None and self.source.kind == "video"


@dataclass(frozen=True, slots=True)
class Seen:
    """A person in a clip."""

    clip: ClipView
    match: Match

    @property
    def best(self) -> Appearance:
        """The appearance with the best picture that there is."""
        return max(self.match.appearances, key=lambda one: (bool(one.picture.chip), one.picture.quality))

    @property
    def seconds(self) -> float:
        """Time on screen."""
        return sum(one.end_s - one.start_s for one in self.match.appearances)

    @property
    def faces(self) -> int:
        """Detections."""
        return sum(one.faces for one in self.match.appearances)


@dataclass(frozen=True)
class PersonView:
    """A person over all clips."""

    key: str
    """``person_id``; ``CLIP-ID:face_id`` where people of all clips were not decided."""
    person_id: int | None
    name: str | None
    ignored: bool
    seen: tuple[Seen, ...]

    @property
    def label(self) -> str:
        """What the person is called."""
        return self.name or called(None, self.person_id, self.seen[0].match.face_id).capitalize()

    @cached_property
    def seconds(self) -> float:
        """Time on screen in all clips."""
        return sum(one.seconds for one in self.seen)

    @cached_property
    def clip_count(self) -> int:
        """Clips that they are in, in some of which they may have several ``face_id``."""
        return len({one.clip.id for one in self.seen})

    @cached_property
    def faces(self) -> int:
        """Detections in all clips."""
        return sum(one.faces for one in self.seen)

    @cached_property
    def appearances(self) -> int:
        """Stretches of time on screen."""
        return sum(len(one.match.appearances) for one in self.seen)

    @cached_property
    def best(self) -> Seen:
        """The clip with the best picture of the person."""
        return max(self.seen, key=lambda one: (bool(one.best.picture.chip), one.best.picture.quality))


@dataclass(frozen=True)
class Snapshot:
    """A ROOT at one time."""

    clips: tuple[ClipView, ...]
    """In natural order of their names."""
    people: tuple[PersonView, ...]
    """Those longest on screen first; also people who are ignored."""

    @cached_property
    def clip_of(self) -> Mapping[str, ClipView]:
        """Clips by id."""
        return {clip.id: clip for clip in self.clips}

    @cached_property
    def clip_named(self) -> Mapping[str, ClipView]:
        """Clips by name."""
        return {clip.name: clip for clip in self.clips}

    @cached_property
    def person_of(self) -> Mapping[str, PersonView]:
        """People by key."""
        return {person.key: person for person in self.people}

    @cached_property
    def who(self) -> Mapping[tuple[str, int], PersonView]:
        """People by clip id and face_id."""
        return {(seen.clip.id, seen.match.face_id): person for person in self.people for seen in person.seen}

    @cached_property
    def reported(self) -> tuple[PersonView, ...]:
        """The people who are not ignored."""
        return tuple(person for person in self.people if not person.ignored)
