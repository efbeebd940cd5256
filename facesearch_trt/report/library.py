"""Reads a ROOT for its report and its web pages.

Clips are read once and again only where their results changed; memory grows with tracks, not with frames.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import FaceSearchError
from ..exporting import track_row
from ..graph.inputs import find_clips, natural_key
from ..indexing import Person, read_people, root_name
from ..last_run import last_run
from ..people.clips import OUTPUT_SUFFIX
from ..people.decisions import DECISIONS_FILE
from ..people.files import NAMES_FILE, PEOPLE_FILE
from ..people.log import LOG_FILE
from ..people.tracks import Track, load_tracks
from ..search.matches import Match, matches_from_rows
from ..search.rows import clip_key
from ..store.clip import ClipStore
from ..store.record import RunRecord
from ..store.schema import FACES, QUALITY, RECORD_FILE
from ..types import Clip
from .views import ClipView, PersonView, Seen, Snapshot, shown

__all__ = ["Library"]

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_S = 1.0
"""Between two looks at the files; what this process itself changes is seen at once."""


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
