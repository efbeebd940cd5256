"""Takes a person, or a clip, out of everything that the program made: results, tables of people, gallery, index.

What a person gave the program stays: videos, image folders and photos. As long as the video is there, processing it
again with ``--force`` finds the person again. Pictures of whole frames stay too; they are counted.
"""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from .errors import InputError, OptionError, StoreError
from .indexing import index_clips, root_name
from .people.clips import OUTPUT_SUFFIX, finished_clips
from .people.corrections import forget_undo
from .people.decisions import DECISIONS_FILE, load_decisions, save_decisions
from .people.files import locked, read_names, read_people_table, read_state, write_state, write_whole
from .people.gallery import GALLERY_FILE, load_gallery
from .people.update import known_people, resolve, update_people
from .running.cores import usable_cores
from .search.where import Where
from .search.writer import IndexWriter
from .store.clip import ClipStore
from .store.pth import read_pth
from .store.schema import CHIPS_DIRECTORY, EMBEDDINGS_FILE, FACES, FRAMES, StepName
from .store.tables import read_rows
from .types import Array, Frame

__all__ = ["Erased", "clips_older_than", "erase_clip", "erase_faces", "erase_person"]

_LOG = logging.getLogger(__name__)

_STEPS: tuple[StepName, ...] = ("faces", "embeddings", "identity")
_EXPORTS = ("report.html", "exports")
"""What earlier commands may have made of the results; see also the subtitles beside the videos."""


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
    """Names that were forgotten, with what the gallery had enrolled for them."""
    pictures_left: int = 0
    """Pictures of whole frames that show the person and are still there."""
    made_before: list[str] = field(default_factory=list)
    """Reports and exports that may still show the person: make them again, or remove them."""

    def add(self, other: Erased) -> None:
        """Add what else was removed."""
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            setattr(self, item.name, mine + theirs if isinstance(mine, int) else list(dict.fromkeys([*mine, *theirs])))


def erase_person(root: Path, person_id: int, index: str | None) -> Erased:
    """Take a person of a ROOT out of all results and, where ``index`` is given, out of that index.

    Killed at any moment, it can be called again and goes on. Raises OptionError for an id that was never given,
    StoreError where something cannot be written, or a clip is being processed.
    """
    if person_id not in known_people(root):
        raise OptionError(
            "no such person", where=root, asked=person_id, remedy=f"`facesearch people {root}` lists everybody."
        )
    person_id = resolve(root, person_id)
    erased = Erased()
    if index is not None:
        # First, so that nobody finds the person any more while the rest is being done.
        with IndexWriter(index, wait_s=60) as writer:
            where = Where(roots=(root_name(root),), person_ids=(str(person_id),))
            erased.index_rows = writer.delete(where).rows
    theirs: dict[str, set[int]] = {}
    for (clip, face_id), person in read_people_table(root).items():
        if person == person_id:
            theirs.setdefault(clip, set()).add(face_id)
            erased.people_entries += 1
    erase_faces(root, theirs, None, erased)
    _forget_name(root, person_id, erased)
    _forget_people(root, {person_id})
    _refresh(root, list(theirs), index)
    return erased


def erase_faces(root: Path, faces: Mapping[str, set[int]], index: str | None, erased: Erased | None = None) -> Erased:
    """Take some people of some clips, given as clip → face_ids, out of the clips' results and of an index."""
    erased = erased or Erased()
    finished = finished_clips(root)
    with ThreadPoolExecutor(max(2, usable_cores())) as pool:
        for clip, face_ids in sorted(faces.items()):
            if clip not in finished:
                raise InputError("has no finished clip of this name", where=root, asked=clip)
            _without_faces(finished[clip], face_ids, pool, erased)
    erased.made_before = _made_before(root, list(faces))
    if index is not None:
        _refresh(root, list(faces), index)
    return erased


def erase_clip(root: Path, clip: str, index: str | None) -> Erased:
    """Remove the results of a clip, but not the clip itself, and its rows of an index; people.csv follows.

    Raises InputError where there are none.
    """
    directory = root / f"{clip}{OUTPUT_SUFFIX}"
    if Path(clip).name != clip or not directory.is_dir():
        raise InputError("has no results of this clip", where=root, asked=clip)
    erased = Erased(clips=[clip])
    if index is not None:
        with IndexWriter(index, wait_s=60) as writer:
            erased.index_rows = writer.delete(Where(roots=(root_name(root),), clips=(clip,))).rows
    record = ClipStore(directory).record()
    erased.faces = 0 if record is None else record.counts.faces
    erased.crops = sum(path.suffix == ".png" for path in (directory / CHIPS_DIRECTORY).glob("*"))
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise StoreError("cannot be removed", where=directory, found=error.strerror) from error
    people = [person for (of, _), person in read_people_table(root).items() if of == clip]
    erased.people_entries = len(people)
    _forget_people(root, set(people))
    erased.made_before = _made_before(root, [clip])
    return erased


def clips_older_than(root: Path, days: float, now_s: float) -> list[str]:
    """Return the clips whose results were made more than so many days before a time, seconds since 1970.

    What counts is when the clip was read, as ``frames.csv`` tells: erasing or grouping does not make results younger.
    """
    found = []
    for clip, directory in finished_clips(root).items():
        path = directory / FRAMES.file
        if path.is_file() and path.stat().st_mtime < now_s - days * 86_400:
            found.append(clip)
    return found


def _without_faces(directory: Path, face_ids: set[int], pool: ThreadPoolExecutor, erased: Erased) -> None:
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


def _forget_name(root: Path, person_id: int, erased: Erased) -> None:
    """Take a person's name out of the decisions, and what is enrolled under it out of the gallery."""
    names = {named.name for named in read_names(root) if named.person_id == person_id}
    with locked(root):
        decisions = load_decisions(root)
        names |= {name for person, name in decisions.names.items() if resolve(root, person) == person_id}
        kept = {person: name for person, name in decisions.names.items() if resolve(root, person) != person_id}
        ignore = [person for person in decisions.ignore if resolve(root, person) != person_id]
        if kept != decisions.names or ignore != decisions.ignore:
            decisions.names, decisions.ignore = kept, ignore
            write_whole(root / DECISIONS_FILE, save_decisions(decisions))
        gallery = load_gallery(root)
        if gallery is not None and names & set(gallery.names):
            _forget_enrolled(root, names)
    erased.names = sorted(names)


def _forget_enrolled(root: Path, names: set[str]) -> None:
    gallery = load_gallery(root)
    assert gallery is not None
    with np.load(root / GALLERY_FILE, allow_pickle=False) as loaded:
        content = {name: loaded[name] for name in loaded.files}
    stay = np.array([gallery.names[who] not in names for who in gallery.people.tolist()], bool)
    left = [name for name in gallery.names if name not in names]
    if not left:
        for key in ("names", "vectors", "people", "model"):
            content.pop(key, None)
    else:
        place = {gallery.names.index(name): at for at, name in enumerate(left)}
        content["names"] = np.frombuffer("\0".join(left).encode("utf-8", "surrogateescape"), np.uint8)
        content["vectors"] = gallery.vectors[stay]
        content["people"] = np.array([place[who] for who in gallery.people[stay].tolist()], np.int64)
    if "photo_vectors" in content:
        # Photos are remembered by their content; those of the person have the vectors that were enrolled.
        enrolled = {vector.tobytes() for vector in gallery.vectors[~stay]}
        keep = np.array([vector.tobytes() not in enrolled for vector in content["photo_vectors"]], bool)
        content["photo_keys"], content["photo_vectors"] = content["photo_keys"][keep], content["photo_vectors"][keep]
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    write_whole(root / GALLERY_FILE, buffer.getvalue())


def _forget_people(root: Path, people: set[int]) -> None:
    """Bring people.csv up to date, and forget the means by which people who are gone now would be known again."""
    forget_undo(root)
    state = read_state(root, head=True)
    if state is None:
        return
    update_people(root, *state.similarities)
    with locked(root):
        state = read_state(root)
        if state is not None and people & set(state.gone):
            state.gone = {person: mean for person, mean in state.gone.items() if person not in people}
            write_state(root, state)


def _refresh(root: Path, clips: list[str], index: str | None) -> None:
    if index is not None and clips:
        with IndexWriter(index, wait_s=60) as writer:
            index_clips(writer, [root / f"{clip}{OUTPUT_SUFFIX}" for clip in clips])
            # Rows that were replaced are in the files until they are written anew.
            writer.erase()


def _made_before(root: Path, clips: list[str]) -> list[str]:
    found = [root / name for name in _EXPORTS]
    found += [root / f"{clip}.faces.{form}" for clip in clips for form in ("srt", "vtt", "edl")]
    return [str(path) for path in found if path.exists()]
