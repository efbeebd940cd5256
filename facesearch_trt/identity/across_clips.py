"""People of many clips become people of all clips."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..types import Array
from .cohort import strangers_likeness
from .linkage import link
from .neighbours import similar_pairs
from .scale import SimilarityScale, unit

__all__ = ["Appearances", "group_means", "people_of_all_clips", "similarity_needed"]

_FALSE_PER_GROUP = 0.02
"""Strangers that a group may be expected to find above the threshold, at most. For up to 100 groups that asks no more
than the embedder's strict threshold, which is calibrated at about 1 in 5,000."""
_MOST = 1.85
"""Evidence that is enough in any case."""
_ATTACH = 1.45
"""Evidence from which somebody without a trusted face is a known person."""
_POOR = 1.6
"""Evidence from which two people without a trusted face are one. Measured: one person's reach 1.69 to 2.0 between
clips, those of strangers stay below 1.45."""
_MARGIN = 0.25
"""How much nearer that person has to be than the next one."""
_STRANGER_MARGIN = 0.15
"""How much more alike than a known stranger somebody has to be."""
_GHOST = 1.7
"""Evidence above which a stranger says nothing of how alike strangers look."""
_COHORT_SHARE, _COHORT_MARGIN = 0.75, 0.2
"""Two people have to be more alike than three quarters of the strangers that each of them looks most like, and by how
much (evidence). On two sets of bench clips with two embedders 0.15 to 0.3 give the same, or nearly; without it
strangers in a poor light are grouped."""
_SOLID = 3.0
"""Weight from which somebody is surely a person: some four good faces."""
_CHUNK = 65_536
"""Pairs whose similarity is computed at once."""
_PHOTO_DEVIATIONS = 3.09
"""Standard normal quantile at which ``similarity`` is calibrated; see SimilarityScale."""


@dataclass(frozen=True, slots=True)
class Appearances:
    """The people of all clips, one row for each (clip, face_id)."""

    vectors: Array
    """float32 [N, D], unit: quality-weighted mean of the trusted faces; of all faces where none is trusted."""
    weights: Array
    """float [N], above 0: sum of the weights of these faces."""
    trusted: Array
    """bool [N]: whether there is a face that can be trusted."""
    conflicts: Array
    """int64 [C, 2]: pairs of rows that are two people, because they were seen in one frame."""
    clips: Array | None = None
    """int64 [N]: the clip of each row, where it is known."""


def similarity_needed(groups: int, similarity: float, similarity_strict: float) -> float:
    """Return the least similarity at which two of so many groups are one person.

    The more strangers there are, the more alike are the two most alike ones. With the cosines of strangers taken as
    normally distributed, which the two thresholds fix, the threshold grows so that a group meets the same small number
    of strangers above it; it is never below ``similarity_strict``.
    """
    scale = SimilarityScale.of(similarity, similarity_strict)
    deviation = (scale.same - scale.strangers) / _PHOTO_DEVIATIONS
    tail = min(_FALSE_PER_GROUP / max(groups, 1), 0.5)
    grown = scale.strangers + deviation * NormalDist().inv_cdf(1 - tail)
    most = max(similarity_strict, scale.cosine(_MOST))
    return min(max(similarity_strict, grown), most)


def people_of_all_clips(
    appearances: Appearances, similarity: float, similarity_strict: float, *, together: Array | None = None
) -> Array:
    """Return the person of each row, int64 [N], numbered from 0 in the order of the rows.

    Rows with a trusted face are grouped by the evidence alone, so that the order of clips does not matter. The others
    are then attached where the evidence is good and clear. What is left is grouped among itself, where it is very much
    alike.

    Parameters
    ----------
    similarity, similarity_strict: the embedder's calibrated thresholds; see models.entries.EmbedderEntry.
    together: int64 [N], rows of one number are known to be one person; -1 for those of which nothing is known.
    """
    count = len(appearances.vectors)
    if together is None:
        together = np.full(count, -1, np.int64)
    known = together >= 0
    start = np.where(known, together, np.arange(count) + int(together.max(initial=0)) + 1)
    # One good face among those known to be one person vouches for all of them.
    sure = appearances.trusted | known
    rows = np.flatnonzero(sure)
    place = np.full(count, -1, np.int64)
    place[rows] = np.arange(len(rows))
    scale = SimilarityScale.of(similarity, similarity_strict)
    pairs = place[appearances.conflicts.reshape(-1, 2)]
    found = link(
        appearances.vectors,
        np.sqrt(appearances.weights[rows]),
        pairs[(pairs >= 0).all(axis=1)],
        lambda groups: similarity_needed(groups, similarity, similarity_strict),
        own_needs=np.maximum(_own_needs(appearances, scale, appearances.trusted), _cohort_needs(appearances, scale))[
            rows
        ],
        groups=start[rows],
        rows=rows,
    )
    people = np.full(count, -1, np.int64)
    people[rows] = found
    _attach(appearances, people, scale, similarity, similarity_strict)
    _, first, inverse = np.unique(people, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse])


def _own_needs(appearances: Appearances, scale: SimilarityScale, among: Array) -> Array:
    """Return float32 [N]: a row has to be more like others than it is like somebody that it is known not to be, of
    those ``among`` which is looked, bool [N].

    Faces in the dark or out of focus look alike whoever they are; those seen together show by how much.
    """
    needs = np.full(len(appearances.vectors), -1, np.float32)
    pairs = appearances.conflicts.reshape(-1, 2)
    pairs = pairs[among[pairs].all(axis=1)]
    for start in range(0, len(pairs), _CHUNK):
        one, other = pairs[start : start + _CHUNK].T
        likeness = np.einsum("ij,ij->i", appearances.vectors[one], appearances.vectors[other])
        # So alike: a mirror, a screen, or the same person twice while a dissolve lasts.
        need = np.where(scale(likeness) > _GHOST, -1, likeness + _STRANGER_MARGIN * (scale.same - scale.strangers))
        np.maximum.at(needs, one, need.astype(np.float32))
        np.maximum.at(needs, other, need.astype(np.float32))
    return np.minimum(needs, np.float32(scale.cosine(_MOST)))


def _cohort_needs(appearances: Appearances, scale: SimilarityScale) -> Array:
    """Return float32 [N]: a row has to be more like others than strangers are like it, who need not be seen with it."""
    if appearances.clips is None:
        return np.full(len(appearances.vectors), -1, np.float32)
    solid = appearances.trusted & (appearances.weights >= _SOLID)
    likeness = strangers_likeness(appearances.vectors, appearances.clips, solid, _COHORT_SHARE)
    needs = np.where(likeness > -1, likeness + _COHORT_MARGIN * (scale.same - scale.strangers), -1)
    return np.minimum(needs, scale.cosine(_MOST)).astype(np.float32)


def _attach(
    appearances: Appearances, people: Array, scale: SimilarityScale, similarity: float, similarity_strict: float
) -> None:
    """Give each row without a person one, in place."""
    groups, poor = int(people.max(initial=-1)) + 1, np.flatnonzero(people < 0)
    if groups and len(poor):
        least = max(scale.cosine(_ATTACH), similarity_needed(groups, similarity, similarity_strict))
        margin = _MARGIN * (scale.same - scale.strangers)
        means = group_means(appearances, people, groups)
        one, other, value = similar_pairs(np.concatenate([means, appearances.vectors[poor]]), least - margin, probes=8)
        mixed = (one < groups) & (other >= groups)
        order = np.lexsort((-value[mixed], other[mixed]))
        group, row, value = one[mixed][order], poor[other[mixed][order] - groups], value[mixed][order]
        first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]]) if len(row) else np.zeros(0, np.int64)
        second = np.full(len(first), -np.inf, np.float32)
        more = np.diff(np.r_[first, len(row)]) > 1
        second[more] = value[first[more] + 1]
        clear = (value[first] >= least) & (value[first] - second >= margin)
        enemies = _enemies(appearances.conflicts, people < 0)
        # The surest first, so that of two who were seen together the likelier one gets the person.
        for wish in sorted(first[clear].tolist(), key=lambda place: (-float(value[place]), int(row[place]))):
            person = int(group[wish])
            if all(people[enemy] != person for enemy in enemies.get(int(row[wish]), ())):
                people[row[wish]] = person
    _link_poor(appearances, people, scale, similarity_needed(groups, similarity, similarity_strict))


def _link_poor(appearances: Appearances, people: Array, scale: SimilarityScale, least: float) -> None:
    """Group the rows that are nobody's yet among themselves, in place.

    That asks for more, but cannot glue two trusted people together.
    """
    rows = np.flatnonzero(people < 0)
    place = np.full(len(people), -1, np.int64)
    place[rows] = np.arange(len(rows))
    pairs = place[appearances.conflicts.reshape(-1, 2)]
    everybody = np.ones(len(people), bool)
    found = link(
        appearances.vectors,
        np.sqrt(appearances.weights[rows]),
        pairs[(pairs >= 0).all(axis=1)],
        lambda _: max(least, scale.cosine(_POOR)),
        own_needs=_own_needs(appearances, scale, everybody)[rows],
        rows=rows,
    )
    people[rows] = int(people.max(initial=-1)) + 1 + found


def group_means(appearances: Appearances, people: Array, groups: int) -> Array:
    """Return float32 [groups, D], unit: the mean of each group's rows, weighted as in the grouping."""
    rows = np.flatnonzero(people >= 0)
    order = rows[np.argsort(people[rows], kind="stable")]
    starts = np.searchsorted(people[order], np.arange(groups + 1))
    means = np.empty((groups, appearances.vectors.shape[1]), np.float32)
    for first in range(0, groups, _CHUNK // 8):
        last = min(first + _CHUNK // 8, groups)
        some = order[starts[first] : starts[last]]
        part = appearances.vectors[some] * np.sqrt(appearances.weights[some]).astype(np.float32)[:, None]
        means[first:last] = unit(np.add.reduceat(part, starts[first:last] - starts[first], axis=0))
    return means


def _enemies(conflicts: Array, of: Array) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for one, other in conflicts[of[conflicts].any(axis=1)].tolist() if len(conflicts) else []:
        found.setdefault(one, []).append(other)
        found.setdefault(other, []).append(one)
    return found
