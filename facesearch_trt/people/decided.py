"""What a person's decisions mean for the rows of a grouping."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..types import Array
from .clips import ClipPeople
from .decisions import DECISIONS_FILE, Decisions, load_decisions
from .files import State
from .log import merged_into

__all__ = ["decided_rows", "followed", "ignored_people", "with_new_ids"]

_log = logging.getLogger(__name__)


def followed(person: int, into: dict[int, int]) -> int:
    """Return who a person is now, given which person was merged into which."""
    seen = {person}
    while person in into and into[person] not in seen:
        person = into[person]
        seen.add(person)
    return person


def ignored_people(root: Path) -> set[int]:
    """Return who is nobody to report, under the ids that they have now. Raises OptionError, TableError."""
    into = merged_into(root)
    return {followed(person, into) for person in load_decisions(root).ignore}


def decided_rows(
    clips: Sequence[ClipPeople], before: Array, decisions: Decisions, into: dict[int, int]
) -> tuple[Array, Array, dict[int, frozenset[int]]]:
    """Return which rows are together by decision, int64 [N] (-1: undecided), further conflicts, int64 [C, 2], and the
    ids that a row's group may not have."""
    together = np.full(len(before), -1, np.int64)
    label = {}
    parent: dict[int, int] = {}

    def root_of(person: int) -> int:
        while parent.get(person, person) != person:
            person = parent[person]
        return person

    for group in decisions.merge:
        first, *rest = sorted({root_of(followed(person, into)) for person in group})
        for person in rest:
            parent[person] = first
    decided = {followed(person, into) for group in decisions.merge for person in group}
    for split in decisions.split:
        decided |= {followed(person, into) for person in (split.person, split.into) if person is not None}
    for person in sorted(decided):
        label[person] = root_of(person)
        together[before == person] = root_of(person)
    place, row = {}, 0
    for clip in clips:
        for face_id in clip.face_ids.tolist():
            place[clip.clip, face_id] = row
            row += 1
    conflicts: list[tuple[int, int]] = []
    denied: dict[int, frozenset[int]] = {}
    free = max(label.values(), default=0) + 1
    for split in decisions.split:
        person = root_of(followed(split.person, into))
        if split.into is None:
            rows = [place[face] for face in split.faces if face in place]
            missing = [face for face in split.faces if face not in place]
            if missing:
                _log.warning("%s: names faces that are not there: %s", DECISIONS_FILE, missing)
            together[rows] = free
            for row in rows:
                denied[row] = denied.get(row, frozenset()) | {person}
            other, free = free, free + 1
        else:
            other = root_of(followed(split.into, into))
        ours, theirs = np.flatnonzero(together == person), np.flatnonzero(together == other)
        if len(ours) and len(theirs):
            conflicts.append((int(ours[0]), int(theirs[0])))
    return together, np.array(conflicts, np.int64).reshape(-1, 2), denied


def with_new_ids(decisions: Decisions, state: State) -> Decisions:
    """Return the decisions with the ids that split people got."""
    ids, row = {}, 0
    for clip in state.clips:
        for face_id in clip.face_ids.tolist():
            ids[clip.clip, face_id] = int(state.person_ids[row])
            row += 1
    split = []
    for entry in decisions.split:
        got = [ids[face] for face in entry.faces if face in ids] if entry.into is None else []
        split.append(entry if not got else type(entry)(entry.person, entry.faces, got[0]))
    return Decisions(decisions.merge, split, decisions.names, decisions.ignore)
