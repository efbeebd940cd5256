"""Tracks of a clip become its people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..types import Array
from .cluster import agglomerate
from .describe import TrackDescription
from .scale import SimilarityScale
from .stitch import stitch

__all__ = ["people_of_clip"]

_SAME = 1.2
"""Evidence from which two people are one. Above 1: tracks of two strangers in the same light lie closer than photos
do."""
_STRANGER_MARGIN = 0.15
"""How much more alike than a known stranger somebody has to be."""
_MOST = 1.85
"""Evidence that is enough in any case; a mirror or a screen in the picture shows a stranger who is the same."""
_GHOST, _GHOST_FRAMES = 1.7, 12
"""Evidence above which a stranger of fewer frames than these may be the same person seen twice."""
_ATTACH = 1.45
"""Evidence from which a track without a trusted face is somebody's."""
_MARGIN = 0.25
"""How much nearer that somebody has to be than the next person."""


def people_of_clip(
    tracks: Sequence[TrackDescription], conflicts: Iterable[tuple[int, int]], scale: SimilarityScale, max_age: int
) -> Array:
    """Return the person of each track, int32 [T], numbered from 0 in the order in which they appear in the clip.

    Tracks with a face that can be trusted are grouped first, by evidence alone. The others are then attached to a
    person where the evidence is good, and otherwise are people of their own, so that a blurred face never glues two
    people together.

    Parameters
    ----------
    tracks: in the order of their first face; ``conflicts`` names them by their place in it.
    conflicts: pairs of tracks that share a frame and so are two people.
    """
    if not tracks:
        return np.zeros(0, np.int32)
    conflicts = list(conflicts)
    pieces = stitch(tracks, conflicts, scale, max_age)
    groups = _Groups(tracks, pieces, conflicts)
    sure = [group for group in groups.all() if groups.trusted(group) > 0]
    place = {group: row for row, group in enumerate(sure)}
    found = agglomerate(
        np.stack([groups.mean(group) for group in sure]) if sure else np.zeros((0, 1), np.float32),
        np.array([groups.weight(group) ** 0.5 for group in sure]),
        np.array([_cosine(scale, _need(groups, group, scale)) for group in sure]),
        [(place[a], place[b]) for a, b in groups.enemies() if a in place and b in place],
    )
    leader: dict[int, int] = {}
    for group, number in zip(sure, found.tolist(), strict=True):
        if number in leader:
            groups.merge(leader[number], group)
        else:
            leader[number] = group
    _attach(groups, list(leader.values()), scale)
    return groups.numbers()


def _attach(groups: _Groups, people: list[int], scale: SimilarityScale) -> None:
    if not people:
        return
    means = np.stack([groups.mean(person) for person in people])
    poor = [group for group in groups.all() if groups.trusted(group) == 0]
    wishes = []
    for group in poor:
        evidence = scale(means @ groups.mean(group))
        order = np.argsort(-evidence, kind="stable")
        best = int(order[0])
        second = float(evidence[order[1]]) if len(order) > 1 else 0.0
        if evidence[best] >= _ATTACH and evidence[best] - second >= _MARGIN:
            wishes.append((-float(evidence[best]), group, people[best]))
    for _, group, person in sorted(wishes):
        if not groups.fight(group, person):
            groups.merge(person, group)


def _need(groups: _Groups, group: int, scale: SimilarityScale) -> float:
    """Return the evidence at which a group may join another: more than for those known to be somebody else.

    Faces in the dark or out of focus look alike whoever they are; those seen together with others show by how much.
    """
    nearest = 0.0
    for other in groups.strangers(group):
        evidence = float(scale(groups.mean(group) @ groups.mean(other)))
        # While a dissolve lasts, a person may be in the picture twice.
        ghost = evidence > _GHOST and groups.together(group, other) < _GHOST_FRAMES
        nearest = max(nearest, 0.0 if ghost else evidence)
    return min(max(_SAME, nearest + _STRANGER_MARGIN), _MOST)


def _cosine(scale: SimilarityScale, evidence: float) -> float:
    return scale.strangers + evidence * (scale.same - scale.strangers)


class _Groups:
    """Disjoint groups of tracks with their sums and whom they cannot be."""

    def __init__(self, tracks: Sequence[TrackDescription], pieces: Array, conflicts: Iterable[tuple[int, int]]) -> None:
        self._of = list(range(len(tracks)))
        self._members = {row: [row] for row in range(len(tracks))}
        self._tracks = tracks
        self._enemies: dict[int, set[int]] = {row: set() for row in range(len(tracks))}
        for one, other in conflicts:
            self._enemies[one].add(other)
            self._enemies[other].add(one)
        first: dict[int, int] = {}
        for row, piece in enumerate(pieces.tolist()):
            if piece in first:
                self.merge(first[piece], row)
            else:
                first[piece] = row

    def all(self) -> list[int]:
        return list(self._members)

    def merge(self, one: int, other: int) -> None:
        for row in self._members[other]:
            self._of[row] = one
        self._members[one] += self._members.pop(other)
        for enemy in self._enemies[other]:
            self._enemies[enemy].discard(other)
            self._enemies[enemy].add(one)
        self._enemies[one] |= self._enemies.pop(other)

    def fight(self, one: int, other: int) -> bool:
        return other in self._enemies[one]

    def strangers(self, group: int) -> list[int]:
        return sorted(self._enemies[group])

    def together(self, one: int, other: int) -> int:
        """Return the most frames that two of their tracks, which share a frame, have in common."""
        return max(
            (
                min(self._tracks[a].last_frame, self._tracks[b].last_frame)
                - max(self._tracks[a].first_frame, self._tracks[b].first_frame)
                + 1
                for a in self._members[one]
                for b in self._members[other]
                if self._tracks[a].shot == self._tracks[b].shot
            ),
            default=0,
        )

    def enemies(self) -> list[tuple[int, int]]:
        return [(one, other) for one, others in self._enemies.items() for other in sorted(others) if one < other]

    def trusted(self, group: int) -> int:
        return sum(self._tracks[row].trusted for row in self._members[group])

    def weight(self, group: int) -> float:
        return sum(self._tracks[row].weight for row in self._members[group])

    def mean(self, group: int) -> Array:
        total = sum(self._tracks[row].total for row in self._members[group])  # type: ignore[misc]
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), np.float32)

    def numbers(self) -> Array:
        seen: dict[int, int] = {}
        order = sorted(range(len(self._tracks)), key=lambda row: self._tracks[row].first_row)
        for row in order:
            seen.setdefault(self._of[row], len(seen))
        return np.array([seen[group] for group in self._of], np.int32)
