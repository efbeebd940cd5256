"""Tracks of a clip become its people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from ..types import Array
from .deep_sort import TrackerSettings
from .describe import TrackDescription
from .linkage import link
from .neighbours import similar_pairs
from .scale import SimilarityScale, unit
from .stitch import stitch

__all__ = ["people_of_clip"]

_SAME = 1.25
"""Evidence from which two people are one. Above 1: tracks of two strangers in the same light lie closer than photos
do."""
_STRANGER_MARGIN = 0.15
"""How much more alike than a known stranger somebody has to be."""
_MOST = 1.85
"""Evidence that is enough in any case; a mirror or a screen in the picture shows a stranger who is the same."""
_WEAK = 0.45
"""Share of the clip's largest embedding norm below which a track tells nothing: a network that was trained with a
margin (ArcFace) gives faces in the dark or out of focus a third of the norm of good ones. dlib's norms hardly
differ."""
_GHOST, _GHOST_FRAMES = 1.7, 12
"""Evidence above which a stranger of fewer frames than these may be the same person seen twice."""
_ATTACH = 1.45
"""Evidence from which a track without a trusted face is somebody's."""
_POOR = 1.7
"""Evidence from which two tracks without a trusted face are one person."""
_MARGIN = 0.25
"""How much nearer that somebody has to be than the next person."""
_NEIGHBOURS = 256
"""The nearest of a track that are looked at; many of them may be seen beside it, in a crowd."""


def people_of_clip(
    tracks: Sequence[TrackDescription],
    conflicts: Iterable[tuple[int, int]],
    scale: SimilarityScale,
    settings: TrackerSettings,
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
    pieces = stitch(tracks, conflicts, scale, settings.max_age)
    groups = _Groups(tracks, pieces, conflicts, scale)
    # Tracks of a moment come second: the rest of a dissolve must not take the place of the person's real track.
    _group(
        groups,
        [group for group in groups.all() if groups.trusted(group) >= settings.n_init and not groups.ghost(group)],
    )
    _group(groups, [group for group in groups.all() if groups.trusted(group)])
    _attach(groups, scale)
    # Small faces that were seen long enough may still be each other: a mean of many says more than one of them.
    rest = [group for group in groups.all() if not groups.trusted(group) and groups.faces(group) >= settings.n_init]
    _group(groups, rest, least=scale.cosine(_POOR))
    return groups.numbers()


def _group(groups: _Groups, some: list[int], least: float = -1.0) -> None:
    if not some:
        return
    place = {group: row for row, group in enumerate(some)}
    needs = np.array([max(groups.need(group), least) for group in some], np.float32)
    pairs = [(place[a], place[b]) for a, b in groups.enemies() if a in place and b in place]
    lowest = float(needs.min())
    found = link(
        np.stack([groups.vector(group) for group in some]),
        np.array([groups.weight(group) for group in some]),
        np.array(pairs, np.int64).reshape(-1, 2),
        lambda _: lowest,
        own_needs=needs,
        pairs=partial(similar_pairs, most=_NEIGHBOURS),
    )
    leader: dict[int, int] = {}
    for group, number in zip(some, found.tolist(), strict=True):
        if number in leader:
            groups.merge(leader[number], group)
        else:
            leader[number] = group


def _attach(groups: _Groups, scale: SimilarityScale) -> None:
    """Give tracks without a trusted face to the person who is clearly nearest, the best evidence first."""
    people = [group for group in groups.all() if groups.trusted(group)]
    if not people:
        return
    means = unit(np.stack([groups.vector(person) for person in people]))
    wishes = []
    for group in groups.all():
        if groups.trusted(group):
            continue
        evidence = scale(means @ unit(groups.vector(group)))
        order = np.argsort(-evidence, kind="stable")
        best = int(order[0])
        second = float(evidence[order[1]]) if len(order) > 1 else 0.0
        if evidence[best] >= float(scale(groups.need(group))) and evidence[best] - second >= _MARGIN:
            wishes.append((-float(evidence[best]), group, people[best]))
    for _, group, person in sorted(wishes):
        if not groups.fight(group, person):
            groups.merge(person, group)


class _Groups:
    """Disjoint groups of tracks: what they look like and whom they cannot be."""

    def __init__(
        self,
        tracks: Sequence[TrackDescription],
        pieces: Array,
        conflicts: Iterable[tuple[int, int]],
        scale: SimilarityScale,
    ) -> None:
        self._tracks = tracks
        self._of = list(range(len(tracks)))
        self._members = {row: [row] for row in range(len(tracks))}
        self._enemies: dict[int, set[int]] = {row: set() for row in range(len(tracks))}
        least = _WEAK * max((track.strength for track in tracks), default=0.0)
        self._trusted = [track.trusted if track.strength >= least else 0 for track in tracks]
        # A long track says more than a short one, but its faces are much alike.
        self._weights = [track.weight**0.5 for track in tracks]
        self._sums = [track.mean * np.float32(weight) for track, weight in zip(tracks, self._weights, strict=True)]
        for one, other in conflicts:
            self._enemies[one].add(other)
            self._enemies[other].add(one)
        self._needs = [0.0] * len(tracks)
        self._ghosts: set[int] = set()
        first: dict[int, int] = {}
        for row, piece in enumerate(pieces.tolist()):
            if piece in first:
                self.merge(first[piece], row)
            else:
                first[piece] = row
        for group in self.all():
            self._needs[group] = self._need(group, scale) * self._weights[group]

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
        self._trusted[one] += self._trusted[other]
        self._weights[one] += self._weights[other]
        self._needs[one] += self._needs[other]
        self._sums[one] = self._sums[one] + self._sums[other]

    def fight(self, one: int, other: int) -> bool:
        return other in self._enemies[one]

    def enemies(self) -> list[tuple[int, int]]:
        return [(one, other) for one, others in self._enemies.items() for other in sorted(others) if one < other]

    def trusted(self, group: int) -> int:
        return self._trusted[group]

    def faces(self, group: int) -> int:
        return sum(self._tracks[row].faces for row in self._members[group])

    def ghost(self, group: int) -> bool:
        """Whether it seems to be what a dissolve leaves of a person who is already in the picture again."""
        return group in self._ghosts

    def weight(self, group: int) -> float:
        return float(self._weights[group])

    def vector(self, group: int) -> Array:
        """float32 [D]: weighted average of the unit means of its tracks."""
        return np.asarray(self._sums[group] / np.float32(self._weights[group]))

    def need(self, group: int) -> float:
        """Cosine at which it may join another, on the weighted average of its parts."""
        return float(self._needs[group] / self._weights[group])

    def numbers(self) -> Array:
        seen: dict[int, int] = {}
        for row in sorted(range(len(self._tracks)), key=lambda row: self._tracks[row].first_row):
            seen.setdefault(self._of[row], len(seen))
        return np.array([seen[group] for group in self._of], np.int32)

    def _need(self, group: int, scale: SimilarityScale) -> float:
        """Faces in the dark or out of focus look alike whoever they are; those seen with others show by how much."""
        own, nearest = unit(self._sums[group]), 0.0
        for other in self._enemies[group]:
            evidence: float = float(scale(own @ unit(self._sums[other])))
            # While a dissolve lasts, a person may be in the picture twice.
            if evidence > _GHOST and self._together(group, other) < _GHOST_FRAMES:
                self._ghosts.add(min(group, other, key=self._length))
            else:
                nearest = max(nearest, evidence)
        if not self._trusted[group]:
            return scale.cosine(max(_ATTACH, nearest + _STRANGER_MARGIN))
        return scale.cosine(min(max(_SAME, nearest + _STRANGER_MARGIN), _MOST))

    def _length(self, group: int) -> tuple[int, int]:
        return sum(
            self._tracks[row].last_frame - self._tracks[row].first_frame + 1 for row in self._members[group]
        ), group

    def _together(self, one: int, other: int) -> int:
        """Return the most frames over which two of their tracks last at the same time."""
        pairs = ((self._tracks[a], self._tracks[b]) for a in self._members[one] for b in self._members[other])
        return max(
            (
                min(a.last_frame, b.last_frame) - max(a.first_frame, b.first_frame) + 1
                for a, b in pairs
                if a.shot == b.shot
            ),
            default=0,
        )
