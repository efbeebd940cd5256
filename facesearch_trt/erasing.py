"""Takes a person, or a clip, out of everything that the program made: results, tables of people, gallery, index.

What a person gave the program stays: videos, image folders and photos. As long as the video is there, processing it
again with ``--force`` finds the person again. Pictures of whole frames stay too; they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .errors import BusyError, FaceSearchError, InputError, OptionError, StoreError
from .graph.inputs import EXPORTS_DIRECTORY
from .indexing import index_clips, root_name
from .people.clips import OUTPUT_SUFFIX
from .people.decisions import load_decisions
from .people.forgetting import Faces, forget, who_is_who
from .people.gallery import load_gallery
from .people.update import known_people, resolve
from .report.html import REPORT_FILE, write_report
from .running.cores import usable_cores
from .search.rows import clip_key
from .search.where import Where
from .search.writer import IndexWriter
from .store.clip import ClipStore
from .store.pth import read_pth
from .store.schema import CHIPS_DIRECTORY, EMBEDDINGS_FILE, FACES, FRAMES, QUALITY, StepName
from .store.staging import PARTIAL_DIRECTORY
from .store.tables import read_rows
from .types import Array, Frame

__all__ = ["Erased", "clips_older_than", "erase_clip", "erase_clips", "erase_faces", "erase_person"]

_STEPS: tuple[StepName, ...] = ("faces", "embeddings", "identity")
_OF_FACES = (FACES.file, QUALITY.file, EMBEDDINGS_FILE, CHIPS_DIRECTORY)
_FACES_AT_ONCE = 500
"""In one condition to the index."""
_TOLD = 10
"""Clips, and what else is left, that an error names."""


@dataclass(slots=True)
class Erased:
    """What was removed, and what was not."""

    clips: list[str] = field(default_factory=list)
    """Clips whose results changed, or are gone."""
    faces: int = 0
    """Rows of faces.csv, with their quality and embedding."""
    crops: int = 0
    """Files with a picture of a face."""
    index_rows: int = 0
    people_entries: int = 0
    """Rows of people.csv."""
    names: list[str] = field(default_factory=list)
    """Names that were forgotten."""
    photos: int = 0
    """Photos that the gallery had enrolled under these names."""
    pictures_left: int = 0
    """Pictures of whole frames that show the person and are still there."""
    made_before: list[str] = field(default_factory=list)
    """Exports that may still show the person: make them again, or remove them."""


def erase_person(root: Path, person_id: int, index: str | None, erased: Erased | None = None) -> Erased:
    """Take a person of a ROOT out of all results and, where ``index`` is given, out of that index.

    Killed at any moment, it can be called again and goes on. What was removed is added to ``erased``, also before an error.

    Raises OptionError for an id that was never given; after all else is done StoreError, or BusyError where another process
    is at work, which names the clips, and what else, that still hold the person. There the person stays known, so that it can be
    done again.
    """
    erased = erased or Erased()
    if person_id not in known_people(root):
        raise OptionError(
            "no such person", where=root, asked=person_id, remedy=f"`facesearch people {root}` lists everybody."
        )
    person_id = resolve(root, person_id)
    # A file that cannot be read is met before anything is changed.
    load_decisions(root), load_gallery(root)
    theirs: dict[str, set[int]] = {}
    for (clip, face_id), person in who_is_who(root).items():
        if person == person_id:
            theirs.setdefault(clip, set()).add(face_id)
    left: list[FaceSearchError] = []
    if index is not None:
        # First, so that nobody finds the person any more while the rest is being done.
        with _collected(left), IndexWriter(index, wait_s=60) as writer:
            where = Where(roots=(root_name(root),), person_ids=(str(person_id),))
            erased.index_rows += writer.delete(where).rows
    failed = _without_faces(root, theirs, erased)
    # Who is to be erased is written there, so after the clips.
    _forget(root, {clip: ids for clip, ids in theirs.items() if clip not in failed}, {person_id}, erased)
    _finish(root, list(theirs), None if left else index, erased, failed, left)
    return erased


def erase_faces(root: Path, faces: Mapping[str, set[int]], index: str | None, erased: Erased | None = None) -> Erased:
    """Take some people of some clips, given as clip → face_ids, out of the clips' results and of an index.

    Whoever has no face left is forgotten as by :func:`erase_person`, and what is raised after all else is as there. Raises
    InputError for a clip of which nothing is known.
    """
    erased = erased or Erased()
    _check_clips(root, list(faces), "has no finished clip of this name")
    unfinished = {clip for clip in faces if _holds_faces(root, clip) and not _is_finished(root, clip)}
    # Called again, it is told the faces: who they are may be forgotten first, so that no run in between remembers them.
    _forget(root, {clip: ids for clip, ids in faces.items() if clip not in unfinished}, (), erased)
    left: list[FaceSearchError] = []
    if index is not None:
        tracks = [(clip_key(root_name(root), clip), face_id) for clip, ids in faces.items() for face_id in sorted(ids)]
        with _collected(left), IndexWriter(index, wait_s=60) as writer:
            for start in range(0, len(tracks), _FACES_AT_ONCE):
                erased.index_rows += writer.delete(Where(tracks=tuple(tracks[start : start + _FACES_AT_ONCE]))).rows
    failed = _without_faces(root, faces, erased)
    _finish(root, list(faces), None if left else index, erased, failed, left)
    return erased


def erase_clip(root: Path, clip: str, index: str | None) -> Erased:
    """Remove the results of a clip; see :func:`erase_clips`."""
    return erase_clips(root, [clip], index)


def erase_clips(root: Path, clips: Sequence[str], index: str | None, erased: Erased | None = None) -> Erased:
    """Remove the results of some clips, also unfinished ones, but not the clips themselves, and their rows of an index. Who is in
    no other clip is forgotten, but for photos of the gallery.

    Raises InputError for a clip of which nothing is known; after all else is done StoreError, or BusyError where another process
    is at work, which names the clips that stay, and what else is left.
    """
    erased = erased or Erased()
    _check_clips(root, clips, "has no results of this clip")
    failed: dict[str, FaceSearchError] = {}
    for clip in clips:
        directory = _directory(root, clip)
        try:
            if directory.is_dir() and ClipStore(directory).is_busy():
                failed[clip] = BusyError("another process is writing these results", where=directory)
        except FaceSearchError as error:
            # It cannot be written, so it cannot be removed either.
            failed[clip] = error
    free = [clip for clip in clips if clip not in failed]
    left: list[FaceSearchError] = []
    if index is not None:
        with _collected(left), IndexWriter(index, wait_s=60) as writer:
            erased.index_rows += writer.forget([clip_key(root_name(root), clip) for clip in free]).rows
    # Before the clips, so that no run in between remembers those who were in them.
    _forget(root, dict.fromkeys(free), (), erased, gallery=False)
    for clip in free:
        store = ClipStore(_directory(root, clip))
        if not store.directory.is_dir():
            continue
        record = store.record()
        faces = 0 if record is None else record.counts.faces
        crops = sum(path.suffix == ".png" for path in (store.directory / CHIPS_DIRECTORY).glob("*"))
        try:
            store.remove()
        except FaceSearchError as error:
            failed[clip] = error
            continue
        erased.clips.append(clip)
        erased.faces, erased.crops = erased.faces + faces, erased.crops + crops
    _finish(root, list(clips), None, erased, failed, left)
    return erased


def clips_older_than(root: Path, days: float, now_s: float) -> list[str]:
    """Return the clips whose results, also unfinished ones, were made more than so many days before a time, seconds since 1970.

    What counts is when the clip was read, as ``frames.csv`` tells: erasing or grouping does not make results younger. Where a
    pass was killed before there was one it is when that pass began.
    """
    found = []
    for directory in sorted(root.glob(f"*{OUTPUT_SUFFIX}")):
        made = [
            path.stat().st_mtime for name in (FRAMES.file, PARTIAL_DIRECTORY) if (path := directory / name).exists()
        ]
        if made and made[0] < now_s - days * 86_400:
            found.append(directory.name.removesuffix(OUTPUT_SUFFIX))
    return found


def _directory(root: Path, clip: str) -> Path:
    return root / f"{clip}{OUTPUT_SUFFIX}"


def _check_clips(root: Path, clips: Sequence[str], what: str) -> None:
    known: set[str] | None = None
    for clip in clips:
        if Path(clip).name == clip and _directory(root, clip).is_dir():
            continue
        known = {of for of, _ in who_is_who(root)} if known is None else known
        if clip not in known:
            raise InputError(what, where=root, asked=clip)


def _holds_faces(root: Path, clip: str) -> bool:
    return any((_directory(root, clip) / name).exists() for name in _OF_FACES)


def _is_finished(root: Path, clip: str) -> bool:
    record = ClipStore(_directory(root, clip)).record()
    return record is not None and "identity" in record.steps


def _forget(root: Path, faces: Faces, people: set[int] | tuple[()], erased: Erased, *, gallery: bool = True) -> None:
    forgotten = forget(root, faces, people, gallery=gallery)
    erased.people_entries += forgotten.entries
    erased.names += sorted(forgotten.names)
    erased.photos += forgotten.photos


def _without_faces(root: Path, faces: Mapping[str, set[int]], erased: Erased) -> dict[str, FaceSearchError]:
    """Take people out of clips; return those in which they still are, and why."""
    failed: dict[str, FaceSearchError] = {}
    with ThreadPoolExecutor(max(2, usable_cores())) as pool:
        for clip, face_ids in sorted(faces.items()):
            try:
                if not _holds_faces(root, clip):
                    continue
                if not _is_finished(root, clip):
                    raise StoreError(
                        "not all of its steps are done, so nobody knows which faces to erase",
                        where=_directory(root, clip),
                        remedy=f"Process it, or erase all of it (--clip {clip}).",
                    )
                _clip_without(_directory(root, clip), face_ids, pool, erased)
            except FaceSearchError as error:
                failed[clip] = error
    return failed


@contextmanager
def _collected(left: list[FaceSearchError]) -> Iterator[None]:
    """Keep what the body could not do for the end, so that all else is done."""
    try:
        yield
    except FaceSearchError as error:
        left.append(error)


def _finish(
    root: Path,
    clips: list[str],
    index: str | None,
    erased: Erased,
    failed: Mapping[str, FaceSearchError],
    left: list[FaceSearchError],
) -> None:
    """Do what follows from it, and raise what could not be done: with clips, ``failed``, and else, ``left``."""
    found = [root / EXPORTS_DIRECTORY] + [
        root / f"{clip}.faces.{form}" for clip in clips for form in ("srt", "vtt", "edl")
    ]
    erased.made_before = [str(path) for path in found if path.exists()]
    for directory in sorted(root.glob(f"*{OUTPUT_SUFFIX}")):
        if directory.name.removesuffix(OUTPUT_SUFFIX) not in failed:
            # A killed pass may have left anybody's.
            with _collected(left):
                ClipStore(directory).tidy()
    if (root / REPORT_FILE).exists():
        with _collected(left):
            write_report(root)
    changed = [_directory(root, clip) for clip in clips if clip not in failed and _is_finished(root, clip)]
    if index is not None and changed:
        with _collected(left), IndexWriter(index, wait_s=60) as writer:
            index_clips(writer, changed)
            # Rows that were replaced are in the files until they are written anew.
            writer.erase()
    errors = [*failed.values(), *left]
    if errors:
        kind = BusyError if all(isinstance(error, BusyError) for error in errors) else StoreError
        more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
        raise kind(
            "not everything was erased; all else is",
            where=root,
            found="; ".join(map(str, errors[:_TOLD])) + more,
            remedy="See to these, then erase again"
            + (f"; what the index has of clips that are gone goes with `facesearch index {root}`." if left else "."),
        )


def _clip_without(directory: Path, face_ids: set[int], pool: ThreadPoolExecutor, erased: Erased) -> None:
    """Write a clip's tables, embeddings and crops again without some people, all at once."""
    store = ClipStore(directory)
    record = store.record()
    track_ids, ids = store.load_identity()
    stay = ~np.isin(ids, sorted(face_ids))
    if record is None or stay.all():
        return
    first = next(read_rows(directory / FACES.file, FACES), None)
    crops = first is not None and bool(first[-1])
    left: list[int] = []
    with store.begin({step: record.steps[step].key for step in _STEPS}) as writer:
        stored = store.load_faces(with_chips=crops, with_embeddings=True, executor=pool)
        frames = writer.write_faces(_selected(stored, stay, left), executor=pool, crops=crops)
        dimension = read_pth(directory / EMBEDDINGS_FILE).dimension
        for _ in writer.write_embeddings(frames, model=record.models["embedder"].name, dimension=dimension):
            pass
        writer.write_identity(track_ids[stay], ids[stay])
        writer.record.warnings.append(f"{int((~stay).sum())} faces were erased on request")
        writer.commit()
    gone = int((~stay).sum())
    erased.clips.append(directory.name.removesuffix(OUTPUT_SUFFIX))
    erased.faces, erased.crops = erased.faces + gone, erased.crops + gone * crops
    erased.pictures_left += len(left)


def _selected(frames: Iterator[Frame], stay: Array, left: list[int]) -> Iterator[Frame]:
    at = 0
    for frame in frames:
        count = len(frame.faces)
        keep = stay[at : at + count]
        at += count
        if not keep.all():
            if frame.file:
                left.append(frame.frame_num)
            frame = replace(frame, faces=frame.faces.select(np.flatnonzero(keep)))  # noqa: PLW2901
        yield frame
