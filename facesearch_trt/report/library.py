"""What a ROOT holds, as its report and its web pages show it: clips, people, when each is on screen.

Clips are read once and again only where their results changed; memory grows with tracks, not with frames.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..errors import FaceSearchError
from ..exporting import track_row
from ..graph.inputs import find_clips, natural_key
from ..indexing import Person, read_people, root_name
from ..last_run import last_run
from ..people.clips import OUTPUT_SUFFIX
from ..people.decisions import DECISIONS_FILE
from ..people.files import LOG_FILE, NAMES_FILE, PEOPLE_FILE
from ..people.tracks import Track, load_tracks
from ..search.matches import Appearance, Match, matches_from_rows
from ..search.rows import clip_key
from ..store.clip import ClipStore
from ..store.record import RunRecord
from ..store.schema import FACES, QUALITY, RECORD_FILE
from ..types import Clip

__all__ = ["ClipView", "Library", "PersonView", "Seen", "Snapshot", "shown"]

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_S = 1.0
"""Between two looks at the files; what this process itself changes is seen at once."""


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
        if self.name:
            return self.name
        return f"Person {self.person_id}" if self.person_id is not None else f"Face {self.seen[0].match.face_id}"

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


@dataclass(frozen=True, slots=True)
class _Read:
    """What is remembered of a clip's results."""

    signature: tuple[object, ...]
    record: RunRecord | None
    tracks: tuple[Track, ...]
    start_s: float
    end_s: float
    problem: str | None


class Library:
    """Reads a ROOT. May be used from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root_name = root_name(root)
        self._lock = threading.Lock()
        self._clips: dict[str, _Read] = {}
        self._snapshot: Snapshot | None = None
        self._signature: object = None
        self._looked_at = float("-inf")

    def snapshot(self) -> Snapshot:
        """Return the ROOT as it is now. Raises FaceSearchError where its tables of people are damaged."""
        with self._lock:
            if self._snapshot is not None and time.monotonic() - self._looked_at < _LOOK_AGAIN_S:
                return self._snapshot
            sources, directories = self._sources(), self._directories()
            signatures = {name: _signature(directory) for name, directory in directories.items()}
            people_files = tuple(
                _stat(self.root / name) for name in (PEOPLE_FILE, NAMES_FILE, DECISIONS_FILE, LOG_FILE)
            )
            failed = last_run(self.root)
            signature = (sorted(signatures.items(), key=str), sorted(sources), people_files, sorted(failed.items()))
            if self._snapshot is None or signature != self._signature:
                self._clips = {
                    name: self._read(name, directories[name], signatures[name]) for name in sorted(directories)
                }
                self._snapshot, self._signature = self._made(sources, failed), signature
            self._looked_at = time.monotonic()
            return self._snapshot

    def changed(self) -> None:
        """Look at the files again for the next snapshot: this process changed them."""
        with self._lock:
            self._looked_at = float("-inf")

    def _sources(self) -> dict[str, Clip]:
        try:
            return {clip.name: clip for clip in find_clips(self.root)}
        except FaceSearchError as error:
            # Results may be there without their videos.
            _LOG.debug("%s", error)
            return {}

    def _directories(self) -> dict[str, Path]:
        found = [entry for entry in self.root.iterdir() if entry.name.endswith(OUTPUT_SUFFIX) and entry.is_dir()]
        return {entry.name.removesuffix(OUTPUT_SUFFIX): entry for entry in found}

    def _read(self, name: str, directory: Path, signature: tuple[object, ...]) -> _Read:
        known = self._clips.get(name)
        if known is not None and known.signature == signature:
            return known
        store = ClipStore(directory)
        record = store.record()
        if record is None or "identity" not in record.steps:
            return _Read(signature, None, (), 0.0, 0.0, "not all steps are done")
        try:
            found = load_tracks(store, best_faces=1, with_embeddings=False)
        except FaceSearchError as error:
            return _Read(signature, record, (), 0.0, 0.0, str(error))
        return _Read(signature, record, tuple(found.tracks), found.start_s, found.end_s, None)

    def _made(self, sources: Mapping[str, Clip], failed: Mapping[str, str]) -> Snapshot:
        who = read_people(self.root)
        clips = []
        for name in sorted({*sources, *self._clips}, key=natural_key):
            read = self._clips.get(name)
            problem = failed.get(name) or (read.problem if read is not None else "not processed yet")
            if read is not None and read.record is not None and read.problem is None:
                problem = None
            view = ClipView(
                f"{clip_key(self.root_name, name):016x}",
                name,
                self.root / f"{name}{OUTPUT_SUFFIX}",
                sources.get(name),
                None if read is None else read.record,
                0.0 if read is None else read.start_s,
                0.0 if read is None else read.end_s,
                () if read is None else self._matches(name, read, who.get(name, {})),
                problem,
            )
            clips.append(view)
        return Snapshot(tuple(clips), tuple(_people(clips, who)))

    def _matches(self, clip: str, read: _Read, people: Mapping[int, Person]) -> tuple[Match, ...]:
        rows = []
        for track in read.tracks:
            person = people.get(track.face_id)
            known = (None, None) if person is None else (int(person.person_id), person.name)
            rows.append(track_row(self.root_name, clip, track, *known))
        matches = [replace(match, name=shown(match.name) if match.name else None) for match in matches_from_rows(rows)]
        return tuple(sorted(matches, key=lambda match: (match.appearances[0].start_s, match.face_id)))


def _people(clips: list[ClipView], who: Mapping[str, Mapping[int, Person]]) -> list[PersonView]:
    seen: dict[str, list[Seen]] = defaultdict(list)
    for clip in clips:
        for match in clip.matches:
            seen[match.person_id or f"{clip.id}:{match.face_id}"].append(Seen(clip, match))
    ignored = {person.person_id for clip in who.values() for person in clip.values() if person.ignored}
    people = [
        PersonView(
            key,
            None if found[0].match.person_id is None else int(found[0].match.person_id),
            found[0].match.name,
            key in ignored,
            tuple(found),
        )
        for key, found in seen.items()
    ]
    return sorted(people, key=lambda person: (-person.seconds, -person.faces, person.person_id or 0))


def _signature(directory: Path) -> tuple[object, ...]:
    return tuple(_stat(directory / name) for name in (RECORD_FILE, FACES.file, QUALITY.file))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
