"""Takes people out of the files of a ROOT that say who is who.

Nobody is grouped anew for it, so it does its work also where that is not possible: with clips of two embedders, or without the
program's memory of the last grouping.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..identity.persons import Change
from ..types import Array
from .clips import ClipPeople
from .corrections import forget_undo
from .decided import followed
from .decisions import DECISIONS_FILE, Decisions, load_decisions, save_decisions
from .files import (
    NAMES_FILE,
    PEOPLE_FILE,
    STATE_FILE,
    State,
    drop_rows,
    locked,
    read_names,
    read_people_table,
    read_state,
    write_state,
    write_whole,
)
from .gallery import forget_enrolled, load_gallery
from .log import append_log, merged_into, read_log

__all__ = ["Faces", "Forgotten", "forget", "who_is_who"]

Faces = Mapping[str, Collection[int] | None]
"""Clip → face_ids; None: all that it has."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is known no more."""

    entries: int
    """Rows of people.csv."""
    names: frozenset[str]
    photos: int
    """Of the gallery."""


def who_is_who(root: Path) -> dict[tuple[str, int], int]:
    """Return (clip, face_id) → person_id, of people.csv, or of the last grouping where that is not there. Raises TableError."""
    table = read_people_table(root)
    state = None if table else read_state(root)
    if state is not None:
        faces = ((clip.clip, face_id) for clip in state.clips for face_id in clip.face_ids.tolist())
        table = dict(zip(faces, state.person_ids.tolist(), strict=True))
    return table


def forget(root: Path, faces: Faces, people: Collection[int] = (), *, gallery: bool) -> Forgotten:
    """Forget who some faces are. Whoever has no other face, and ``people`` in any case, is forgotten altogether: mean, name and
    decisions, and with ``gallery`` the photos that are enrolled under the name.

    Their ids stay known and are given to nobody else. people.csv is written last, so that who is to be forgotten is known
    until all else is done.

    Raises OptionError, TableError or IdentityError for a damaged file before anything is changed, StoreError.
    """
    with locked(root):
        table, decisions, into = who_is_who(root), load_decisions(root), merged_into(root)
        enrolled = load_gallery(root) if gallery else None
        theirs = {face: person for face, person in table.items() if _among(faces, *face)}
        left = {person for face, person in table.items() if face not in theirs}
        gone = (set(theirs.values()) - left) | set(people)
        names = {named.name for named in read_names(root) if named.person_id in gone}
        names |= {name for person, name in decisions.names.items() if followed(person, into) in gone}
        forget_undo(root)
        _retire(root, gone - left)
        _forget_vectors(root, faces, gone)
        found, kept = save_decisions(decisions), save_decisions(_without(decisions, faces, gone, into))
        if found != kept:
            write_whole(root / DECISIONS_FILE, kept)
        photos = 0 if enrolled is None else forget_enrolled(root, enrolled, names)
        drop_rows(root / NAMES_FILE, ("person_id",), lambda row: int(row["person_id"]) in gone)
        entries = drop_rows(
            root / PEOPLE_FILE, ("face_id", "person_id"), lambda row: _among(faces, row["clip"], int(row["face_id"]))
        )
        return Forgotten(entries, frozenset(names), photos)


def _among(faces: Faces, clip: str, face_id: int) -> bool:
    ids = faces.get(clip, ())
    return ids is None or face_id in ids


def _retire(root: Path, people: set[int]) -> None:
    last = {int(row["person_id"]): row["event"] for row in read_log(root)}
    changes = [Change("retired", person) for person in sorted(people) if last.get(person) != "retired"]
    append_log(root, changes, "erased")


def _forget_vectors(root: Path, faces: Faces, gone: set[int]) -> None:
    state = read_state(root)
    if state is not None:
        write_state(root, _state_without(state, faces, gone))
        return
    # Also one that is damaged holds what is to be forgotten.
    for name in (STATE_FILE, f"{STATE_FILE}.partial"):
        (root / name).unlink(missing_ok=True)


def _state_without(state: State, faces: Faces, gone: set[int]) -> State:
    clips: list[ClipPeople] = []
    stays: list[Array] = [np.zeros(0, bool)]
    for clip in state.clips:
        stay = np.array([not _among(faces, clip.clip, face_id) for face_id in clip.face_ids.tolist()], bool)
        stays.append(stay)
        clips.append(clip if stay.all() else _clip_without(clip, stay))
    means = {person: mean for person, mean in state.gone.items() if person not in gone}
    # The stamp is of other files: the next run groups anew.
    return replace(state, stamp="", clips=clips, person_ids=state.person_ids[np.concatenate(stays)], gone=means)


def _clip_without(clip: ClipPeople, stay: Array) -> ClipPeople:
    place = np.cumsum(stay) - 1
    pairs = clip.conflicts[stay[clip.conflicts].all(axis=1)]
    return replace(
        clip,
        face_ids=clip.face_ids[stay],
        vectors=clip.vectors[stay],
        weights=clip.weights[stay],
        trusted=clip.trusted[stay],
        conflicts=place[pairs],
    )


def _without(decisions: Decisions, faces: Faces, gone: set[int], into: dict[int, int]) -> Decisions:
    """Return the decisions without what was said of people who are gone."""

    def stays(person: int) -> bool:
        return followed(person, into) not in gone

    split = []
    for entry in decisions.split:
        left = (
            entry.faces if entry.into is not None else tuple(face for face in entry.faces if not _among(faces, *face))
        )
        if left and (entry.into is None or stays(entry.into)):
            split.append(replace(entry, faces=left))
    groups = [tuple(person for person in group if stays(person)) for group in decisions.merge]
    return Decisions(
        [group for group in groups if len(group) > 1],
        split,
        {person: name for person, name in decisions.names.items() if stays(person)},
        [person for person in decisions.ignore if stays(person)],
    )
