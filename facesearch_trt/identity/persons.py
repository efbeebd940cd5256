"""Keeps the ids of people stable: new groups take over the ids of the people that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..types import Array

__all__ = ["Change", "carry_ids", "match_rows"]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a person's id."""

    event: str
    """``new``; ``merged``: the person is now part of ``into``; ``split``: ``into`` was part of the person;
    ``retired``: no clip shows the person any more; ``back``: a retired person was seen again."""
    person_id: int
    into: int | None = None


def carry_ids(
    groups: Array,
    weights: Array,
    before: Array,
    *,
    next_id: int,
    gone: Mapping[int, Array] | None = None,
    means: Array | None = None,
    least: float = 1.0,
    denied: Mapping[int, frozenset[int]] | None = None,
    known: Sequence[int] = (),
) -> tuple[Array, list[Change], int]:
    """Return the id of each group, what changed, and the next free id.

    An id goes to the group that holds most of what its person was made of. A group that was given several keeps the
    oldest (smallest); the others are merged into it. A group without one is somebody who was known before and was gone,
    if it is alike enough, else somebody new. No id is ever given to somebody else.

    Parameters
    ----------
    groups: int64 [N], each row's group, 0 to G-1.
    weights: float [N], what each row counts.
    before: int64 [N], the id that each row had; -1 for a new row.
    next_id: the first id that was never given.
    gone: people of whom no row is left, with their mean, float32 [D] unit.
    means: float32 [G, D], unit, of the groups; needed with ``gone``.
    least: similarity from which a group is somebody who was gone.
    denied: ids that a group may not have, because the user said that it is not that person.
    known: all ids that people had before this change.
    """
    count = int(groups.max(initial=-1)) + 1
    denied = denied or {}
    had = before >= 0
    votes: dict[int, dict[int, float]] = {}
    origin: dict[int, int] = {}
    for group, person, weight in zip(groups[had].tolist(), before[had].tolist(), weights[had].tolist(), strict=True):
        origin.setdefault(group, person)
        if person not in denied.get(group, ()):
            votes.setdefault(person, {}).setdefault(group, 0.0)
            votes[person][group] += weight
    given: dict[int, list[int]] = {}
    for person in sorted(votes):
        # Among equals the group that comes first.
        best = min(votes[person], key=lambda group: (-votes[person][group], group))
        given.setdefault(best, []).append(person)
    ids = np.full(count, -1, np.int64)
    changes: list[Change] = []
    for group, persons in given.items():
        ids[group] = persons[0]
        changes += [Change("merged", person, persons[0]) for person in persons[1:]]
    _return_gone(ids, gone or {}, means, least, denied, changes)
    for group in np.flatnonzero(ids < 0).tolist():
        ids[group] = next_id
        changes.append(Change("split", origin[group], next_id) if group in origin else Change("new", next_id))
        next_id += 1
    merged = {change.person_id for change in changes if change.event == "merged"}
    alive = set(ids.tolist())
    changes += [Change("retired", person) for person in sorted(set(known) - alive - merged)]
    return ids, changes, next_id


def _return_gone(
    ids: Array,
    gone: Mapping[int, Array],
    means: Array | None,
    least: float,
    denied: Mapping[int, frozenset[int]],
    changes: list[Change],
) -> None:
    free = np.flatnonzero(ids < 0)
    if not len(free) or not gone or means is None:
        return
    names = sorted(gone)
    old = np.stack([gone[name] for name in names])
    wishes = []
    for start in range(0, len(free), 1024):
        part = free[start : start + 1024]
        block = means[part] @ old.T
        for row, column in zip(*np.nonzero(block >= least), strict=True):
            wishes.append((-float(block[row, column]), names[column], int(part[row])))
    taken: set[int] = set()
    for _, person, group in sorted(wishes):
        if ids[group] < 0 and person not in taken and person not in denied.get(group, ()):
            ids[group] = person
            taken.add(person)
            changes.append(Change("back", person))


def match_rows(old: Array, new: Array, least: float) -> Array:
    """Return for each new row the old row that is the same person, int64 [N]; -1 for none.

    For a clip that was done again, whose face_ids may be numbered otherwise. The most alike pairs first, each row once,
    none below ``least``. ``old`` and ``new`` are float32 [M, D] and [N, D], unit.
    """
    found = np.full(len(new), -1, np.int64)
    if not len(old) or not len(new):
        return found
    alike = new @ old.T
    rows, columns = np.nonzero(alike >= least)
    order = np.argsort(-alike[rows, columns], kind="stable")
    used: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if found[row] < 0 and column not in used:
            found[row] = column
            used.add(column)
    return found
