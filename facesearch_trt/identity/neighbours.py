"""Pairs of vectors that are similar enough, among up to millions, without a matrix of all pairs."""

from __future__ import annotations

import numpy as np

from ..types import Array

__all__ = ["EXACT_UP_TO", "similar_pairs"]

EXACT_UP_TO = 32_768
"""Up to so many vectors all pairs are looked at, which takes seconds."""
_BLOCK = 2048
"""Rows of similarities computed at once."""
_LIST_SIZE = 512
"""Vectors of a list of the partition, on average; large lists make matrix products fast, small ones make them few."""
_SAMPLE, _ROUNDS = 32, 5
"""Vectors per list that the partition is learnt from, and how often its centres are moved."""
_HELD = 12_000_000
"""Pairs that are held before each vector's list is cut to its best ones."""


def similar_pairs(
    vectors: Array, least: float, *, scale: Array | None = None, most: int = 24, probes: int = 4, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Return pairs of rows whose dot product is ``least`` or more.

    All of them up to :data:`EXACT_UP_TO` rows (but of a vector with many only its nearest). Beyond, the vectors are
    parted into lists around centres (an inverted file, as in Jégou et al. 2011) and each is compared with those of the
    ``probes`` lists whose centres are nearest; what is missed is found with more probes or another ``seed``, which
    makes another partition.

    Parameters
    ----------
    vectors: float32 [N, D].
    scale: float32 [N], each vector is taken times its scale, so that no scaled copy of millions is needed; None for 1.
    most: pairs per vector that are kept, the nearest ones; a pair stays if either of the two keeps it.

    Returns the smaller row int64 [P], the larger row int64 [P], and the similarity float32 [P], without repetition.
    """
    count = len(vectors)
    found = _Found(count, most, scale)
    if count <= EXACT_UP_TO:
        for start in range(0, count, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, count))
            found.add(vectors, rows, np.arange(start, count), least)
        return found.finish()
    centres = _centres(vectors, max(2, count // _LIST_SIZE), np.random.default_rng(seed))
    near = _nearest(vectors, centres, min(probes, len(centres)))
    by_home = np.argsort(near[:, 0], kind="stable")
    homes = np.searchsorted(near[by_home, 0], np.arange(len(centres) + 1))
    visits = np.argsort(near.ravel(), kind="stable")
    visited = np.searchsorted(near.ravel()[visits], np.arange(len(centres) + 1))
    for number in range(len(centres)):
        members = by_home[homes[number] : homes[number + 1]]
        visitors = visits[visited[number] : visited[number + 1]] // near.shape[1]
        for start in range(0, len(visitors), _BLOCK):
            found.add(vectors, visitors[start : start + _BLOCK], members, least)
    return found.finish()


class _Found:
    """Collects pairs; of each row's only the best ``most`` stay."""

    def __init__(self, count: int, most: int, scale: Array | None) -> None:
        self._count, self._most, self._scale = count, most, scale
        self._parts: list[tuple[Array, Array, Array]] = []
        self._held = 0

    def add(self, vectors: Array, rows: Array, columns: Array, least: float) -> None:
        """Compare all ``rows`` with all ``columns``."""
        if not len(rows) or not len(columns):
            return
        one, other = vectors[rows], vectors[columns]
        if self._scale is not None:
            one *= self._scale[rows][:, None]
            other *= self._scale[columns][:, None]
        block = one @ other.T
        # Places in the flat block: far cheaper than rows and columns of a table that is nearly all below.
        able = np.flatnonzero(block.ravel() >= least)
        if not len(able):
            return
        value, row, column = block.ravel()[able], able // len(columns), able % len(columns)
        keep = rows[row] != columns[column]
        row, column, value = row[keep], column[keep], value[keep]
        many = np.bincount(row, minlength=len(rows))
        if many.max(initial=0) > self._most:
            # Only the nearest of a vector that has many.
            keep = (many[row] <= self._most) | (_rank(row, value) < self._most)
            row, column, value = row[keep], column[keep], value[keep]
        if not len(row):
            return
        self._parts.append((rows[row], columns[column], value))
        self._held += len(row)
        if self._held > _HELD:
            self._parts = [self._cut()]
            self._held = 2 * len(self._parts[0][0]) // 3

    def finish(self) -> tuple[Array, Array, Array]:
        """Return all pairs."""
        return self._cut()

    def _cut(self) -> tuple[Array, Array, Array]:
        if not self._parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        one, other, value = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        self._parts = []
        low, high = np.minimum(one, other), np.maximum(one, other)
        _, first = np.unique(low * self._count + high, return_index=True)
        low, high, value = low[first], high[first], value[first]
        keep = _rank(low, value) < self._most
        keep |= _rank(high, value) < self._most
        return low[keep], high[keep], value[keep]


def _rank(row: Array, value: Array) -> Array:
    """Return each pair's place among those of its row, the nearest first."""
    order = np.lexsort((-value, row))
    starts = np.flatnonzero(np.r_[True, row[order][1:] != row[order][:-1]])
    place = np.arange(len(row)) - np.repeat(starts, np.diff(np.r_[starts, len(row)]))
    rank = np.empty(len(row), np.int64)
    rank[order] = place
    return rank


def _centres(vectors: Array, lists: int, random: np.random.Generator) -> Array:
    """Return float32 [L, D]: k-means of a sample of the directions."""
    sample = vectors[np.sort(random.choice(len(vectors), min(len(vectors), lists * _SAMPLE), replace=False))]
    sample = sample / np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
    centres = sample[random.choice(len(sample), lists, replace=False)]
    for _ in range(_ROUNDS):
        home = _nearest(sample, centres, 1)[:, 0]
        order = np.argsort(home, kind="stable")
        full, starts = np.unique(home[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        sizes = np.diff(np.r_[starts, len(order)])
        centres = centres.copy()
        centres[full] = sums / sizes[:, None]
    return np.asarray(centres, np.float32)


def _nearest(vectors: Array, centres: Array, count: int) -> Array:
    """Return int64 [N, count]: the nearest centres of each direction, the nearest first."""
    near = np.empty((len(vectors), count), np.int64)
    half = (np.square(centres).sum(axis=1) / 2).astype(np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        length = np.linalg.norm(block, axis=1, keepdims=True)
        nearness = block @ centres.T / np.maximum(length, 1e-12) - half
        if count == 1:
            near[start : start + _BLOCK, 0] = nearness.argmax(axis=1)
            continue
        some = np.argpartition(nearness, -count, axis=1)[:, -count:]
        order = np.argsort(-np.take_along_axis(nearness, some, axis=1), axis=1, kind="stable")
        near[start : start + _BLOCK] = np.take_along_axis(some, order, axis=1)
    return near
