"""From the results of clips to the index: what is new or changed in some ROOTs goes in, what is gone goes out."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import FaceSearchError, InputError, StoreError
from .models.places import home_directory
from .people.clips import OUTPUT_SUFFIX, clip_fingerprint
from .people.decided import ignored_people
from .people.files import read_names, read_people_table
from .people.tracks import ClipTracks, Face, Track, load_tracks
from .search.rows import ClipEntry, ClipRows, clip_key
from .search.writer import IndexWriter, Removed
from .store.clip import ClipStore
from .store.record import RunRecord
from .types import Array

__all__ = [
    "Person",
    "Update",
    "clip_directories",
    "clip_rows",
    "default_index",
    "index_clips",
    "read_people",
    "root_name",
    "update_index",
]

_LOG = logging.getLogger(__name__)

_ROWS_VERSION = "1"
"""Changes when rows are made otherwise from the same results, so that every clip is indexed again."""
_BEST_FACES = 2
"""Faces of a track that get a row of their own, beside its mean."""
_BATCH_ROWS, _BATCH_CLIPS = 4096, 64
"""A commit is made when either is reached; a kill loses no more than this."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who a clip's ``face_id`` is over all clips."""

    person_id: str
    name: str | None
    """What a user calls the person."""
    ignored: bool = False
    """Whether a user decided that this is nobody to report; no row is made then."""


People = dict[str, dict[int, Person]]
"""Clip → face_id → person."""


@dataclass(frozen=True, slots=True)
class _Root:
    name: str
    directories: list[Path]
    people: People


@dataclass(slots=True)
class Update:
    """What an update of the index did."""

    added: list[str] = field(default_factory=list)
    """``.pipeline`` directories of clips that are new in the index."""
    replaced: list[str] = field(default_factory=list)
    unchanged: int = 0
    unfinished: list[str] = field(default_factory=list)
    """Clips whose steps are not all done; what the index had of them stays."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """Directory and reason."""
    removed: Removed = field(default_factory=lambda: Removed(0, 0, 0))
    """Clips that are not in their ROOT any more."""
    rows: int = 0
    """Tracks and best faces that were written."""


def default_index() -> Path:
    """Return where the index lies if no place is named: ``index`` in the program's directory."""
    return home_directory() / "index"


def root_name(root: Path) -> str:
    """Return what the index calls a ROOT: its absolute path without links."""
    return str(root.resolve())


def clip_directories(root: Path) -> list[Path]:
    """Return the ``.pipeline`` directories of a ROOT, in order of name.

    Raises InputError where it is no directory or holds none.
    """
    if not root.is_dir():
        raise InputError("is not a directory", where=root, remedy="Give a ROOT whose clips were processed.")
    found = sorted(entry for entry in root.iterdir() if entry.name.endswith(OUTPUT_SUFFIX) and entry.is_dir())
    if not found:
        raise InputError(
            "holds no results",
            where=root,
            asked=f"directories named …{OUTPUT_SUFFIX}",
            remedy=f"Process its clips first: run_pipeline.py --input_directory {root}",
        )
    return found


def read_people(root: Path) -> People:
    """Return who is who over all clips of a ROOT; empty where that was not decided. Raises TableError, OptionError."""
    names = {person.person_id: person.name for person in read_names(root)}
    ignored = ignored_people(root)
    people: People = {}
    for (clip, face_id), person_id in read_people_table(root).items():
        people.setdefault(clip, {})[face_id] = Person(str(person_id), names.get(person_id), person_id in ignored)
    return people


def update_index(
    writer: IndexWriter, roots: Sequence[Path], *, on_batch: Callable[[int, int], None] | None = None
) -> Update:
    """Bring the index up to date with all clips of some ROOTs.

    Each clip is in the index once: new ones are added, changed ones replace what was there, those that are not in
    their ROOT any more are removed, from the files too. A clip that cannot be read keeps its old rows and is named in
    the result. ``on_batch`` is told how many clips are done, and of how many, after each commit.

    Raises InputError for a ROOT without results, TableError or OptionError for damaged files of people, StoreError where
    the index cannot be written.
    """
    # All ROOTs are looked at before anything is written.
    listed = {
        name: _Root(name, clip_directories(root), read_people(root)) for root in roots for name in [root_name(root)]
    }
    total = sum(len(root.directories) for root in listed.values())
    update, known = Update(), writer.clips()
    looked_at: set[int] = set()
    done = 0
    for root in listed.values():
        for batch in _batches(_changed(root, known, update, looked_at)):
            _put(writer, batch, known, update)
            done += len(batch)
            if on_batch is not None:
                on_batch(done + update.unchanged + len(update.unfinished) + len(update.failed), total)
    gone = [key for key, entry in known.items() if entry.root in listed and key not in looked_at]
    if gone:
        update.removed = writer.forget(gone)
    writer.tidy()
    return update


def index_clips(writer: IndexWriter, directories: Iterable[Path]) -> Update:
    """Put some clips into the index, as a run does after each clip; leave all others as they are."""
    update, known = Update(), writer.clips()
    for directory in directories:
        root = _Root(root_name(directory.parent), [directory], read_people(directory.parent))
        for batch in _batches(_changed(root, known, update, set())):
            _put(writer, batch, known, update)
    return update


def clip_rows(directory: Path, root: str, people: People) -> ClipRows:
    """Return the rows of one clip: each track's mean and its best faces, with who it is.

    Raises StoreError where a step is not done, or the clip's name is not valid Unicode; TableError where a table was
    changed.
    """
    store = ClipStore(directory)
    record = store.record()
    if record is None or "identity" not in record.steps:
        raise StoreError("not all steps are done", where=directory, remedy="Run run_pipeline.py on this clip first.")
    clip = directory.name.removesuffix(OUTPUT_SUFFIX)
    try:
        f"{root}{clip}".encode()
    except UnicodeEncodeError:
        raise StoreError("the name is not valid UTF-8", where=directory, remedy="Rename the clip.") from None
    fingerprint = _fingerprint(directory, clip, people)
    tracks = load_tracks(store, best_faces=_BEST_FACES)
    if _fingerprint(directory, clip, people) != fingerprint:
        raise StoreError("the results changed while they were read", where=directory, remedy="Index it again.")
    entry = ClipEntry(
        root, clip, _model_of(record, directory), fingerprint, _source_of(record, root), tracks.start_s, tracks.end_s
    )
    return _rows(entry, tracks, people)


def _rows(entry: ClipEntry, tracks: ClipTracks, people: People) -> ClipRows:
    rows: list[tuple[str, Track, Face, Array]] = []
    people_here = people.get(entry.clip, {})
    for track in tracks.tracks:
        person = people_here.get(track.face_id)
        if track.mean is None or (person is not None and person.ignored):
            continue
        rows.append(("track", track, track.best[0], track.mean))
        # A track of one face is its mean.
        if track.count > 1:
            rows += [("face", track, face, face.vector) for face in track.best if face.vector is not None]
    persons = [people_here.get(track.face_id) for _, track, _, _ in rows]
    return ClipRows(
        entry,
        kind=[kind for kind, _, _, _ in rows],
        track_id=np.array([track.track_id for _, track, _, _ in rows], np.int64),
        face_id=np.array([track.face_id for _, track, _, _ in rows], np.int64),
        person_id=[None if person is None else person.person_id for person in persons],
        name=[None if person is None else person.name for person in persons],
        start_s=np.array([track.start_s for _, track, _, _ in rows], np.float64),
        end_s=np.array([track.end_s for _, track, _, _ in rows], np.float64),
        faces=np.array([track.count for _, track, _, _ in rows], np.int64),
        pts_s=np.array([face.pts_s for _, _, face, _ in rows], np.float64),
        frame_num=np.array([face.frame_num for _, _, face, _ in rows], np.int64),
        face_num=np.array([face.face_num for _, _, face, _ in rows], np.int64),
        boxes=np.array([face.box for _, _, face, _ in rows], np.float32).reshape(-1, 4),
        quality=np.array([face.quality for _, _, face, _ in rows], np.float32),
        chip=[face.chip for _, _, face, _ in rows],
        vectors=np.stack([vector for _, _, _, vector in rows]) if rows else np.zeros((0, 0), np.float32),
    )


def _changed(root: _Root, known: dict[int, ClipEntry], update: Update, looked_at: set[int]) -> Iterator[ClipRows]:
    """Yield the rows of the clips that the index has not, or not as they are now."""
    for directory in root.directories:
        clip = directory.name.removesuffix(OUTPUT_SUFFIX)
        # Also one whose name cannot be stored: it is not gone.
        looked_at.add(clip_key(root.name, clip))
        record = ClipStore(directory).record()
        if record is None or "identity" not in record.steps:
            update.unfinished.append(str(directory))
            continue
        try:
            entry = ClipEntry(root.name, clip, "", _fingerprint(directory, clip, root.people))
            old = known.get(entry.key)
            if old is not None and old.fingerprint == entry.fingerprint:
                update.unchanged += 1
                continue
            yield clip_rows(directory, root.name, root.people)
        except FaceSearchError as error:
            update.failed.append((str(directory), str(error)))


def _batches(clips: Iterable[ClipRows]) -> Iterator[list[ClipRows]]:
    batch: list[ClipRows] = []
    for rows in clips:
        batch.append(rows)
        if len(batch) >= _BATCH_CLIPS or sum(map(len, batch)) >= _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _put(writer: IndexWriter, batch: list[ClipRows], known: dict[int, ClipEntry], update: Update) -> None:
    writer.put(batch)
    for rows in batch:
        directory = str(Path(rows.entry.root) / f"{rows.entry.clip}{OUTPUT_SUFFIX}")
        (update.replaced if rows.entry.key in known else update.added).append(directory)
        known[rows.entry.key] = rows.entry
        update.rows += len(rows)


def _fingerprint(directory: Path, clip: str, people: People) -> str:
    """Return what changes whenever the clip's results, or who is who in it, change."""
    persons = sorted(
        (face_id, person.person_id, person.name, person.ignored) for face_id, person in people.get(clip, {}).items()
    )
    return hashlib.sha256(json.dumps([_ROWS_VERSION, clip_fingerprint(directory), persons]).encode()).hexdigest()[:32]


def _model_of(record: RunRecord, directory: Path) -> str:
    model = record.models.get("embedder")
    if model is None:
        raise StoreError("run.json does not name the embedder", where=directory, remedy="Run faces_to_embeddings.py.")
    return model.name


def _source_of(record: RunRecord, root: str) -> str:
    """Return the path of the video or image folder, which lies beside its results."""
    return "" if record.source is None else str(Path(root) / record.source.path)
