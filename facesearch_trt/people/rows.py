"""The people of clips as the rows of a grouping, and what the last grouping said of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..identity.across_clips import Appearances, group_means
from ..identity.persons import match_rows
from ..types import Array
from .clips import ClipPeople
from .files import State, read_people_table, read_state

__all__ = ["appearances", "ids_before", "means_of", "seen_together"]


def appearances(clips: Sequence[ClipPeople]) -> Appearances:
    """Return the people of clips as rows, in their order."""
    some = [clip for clip in clips if len(clip.face_ids)]
    if not some:
        return Appearances(np.zeros((0, 1), np.float32), np.zeros(0), np.zeros(0, bool), np.zeros((0, 2), np.int64))
    starts = np.cumsum([0, *(len(clip.face_ids) for clip in some)])
    return Appearances(
        np.concatenate([clip.vectors for clip in some]),
        np.concatenate([clip.weights for clip in some]),
        np.concatenate([clip.trusted for clip in some]),
        np.concatenate([clip.conflicts + start for clip, start in zip(some, starts[:-1].tolist(), strict=True)]),
        np.repeat(np.arange(len(some)), np.diff(starts)),
    )


def ids_before(root: Path, clips: Sequence[ClipPeople], old: State | None, least: float) -> Array:
    """Return the person_id that each row had, int64 [N]; -1 for a new one."""
    found: list[Array] = [np.zeros(0, np.int64)]
    if old is None:
        table = read_people_table(root)
        for clip in clips:
            numbers = [table.get((clip.clip, face_id), -1) for face_id in clip.face_ids.tolist()]
            found.append(np.array(numbers, np.int64))
        return np.concatenate(found)
    start, remembered = 0, {}
    for clip in old.clips:
        remembered[clip.clip] = (clip, old.person_ids[start : start + len(clip.face_ids)])
        start += len(clip.face_ids)
    for clip in clips:
        was, ids = remembered.get(clip.clip, (None, np.zeros(0, np.int64)))
        if was is None or was.vectors.shape[1:] != clip.vectors.shape[1:] or was.model != clip.model:
            found.append(np.full(len(clip.face_ids), -1, np.int64))
        elif was.fingerprint == clip.fingerprint:
            found.append(ids)
        else:
            # Done again: its face_ids may be numbered otherwise.
            match = match_rows(was.vectors, clip.vectors, least)
            found.append(np.where(match >= 0, ids[match], -1) if len(ids) else match)
    return np.concatenate(found)


def means_of(state: State, persons: list[int]) -> dict[int, Array]:
    """Return the mean of some people of a grouping, float32 [D] unit."""
    if not persons:
        return {}
    rows = appearances(state.clips)
    place = {person: number for number, person in enumerate(persons)}
    groups = np.array([place.get(person, -1) for person in state.person_ids.tolist()], np.int64)
    return dict(zip(persons, group_means(rows, groups, len(persons)), strict=True))


def seen_together(root: Path, people: Sequence[int]) -> list[tuple[int, int, str]]:
    """Return which of some people were seen in one frame, and in which clip."""
    state = read_state(root)
    if state is None:
        return []
    found, start, wanted = [], 0, set(people)
    for clip in state.clips:
        ids = state.person_ids[start : start + len(clip.face_ids)]
        start += len(clip.face_ids)
        for one, other in ids[clip.conflicts].tolist() if len(clip.conflicts) else []:
            if one != other and {one, other} <= wanted:
                found.append((one, other, clip.clip))
    return found
