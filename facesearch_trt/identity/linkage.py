"""Average-linkage clustering of up to millions of weighted vectors under cannot-link constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..types import Array
from .neighbours import EXACT_UP_TO, similar_pairs

__all__ = ["link"]

_PROBES = (4, 8, 16, 32)
"""How many lists are looked into, search after search; groups become fewer, so later searches cost less."""
_CHUNK = 65_536
"""Pairs whose similarity is computed at once."""


def link(
    vectors: Array,
    weights: Array,
    conflicts: Array,
    need: Callable[[int], float],
    *,
    own_needs: Array | None = None,
    groups: Array | None = None,
    rows: Array | None = None,
    pairs: Callable[..., tuple[Array, Array, Array]] = similar_pairs,
) -> Array:
    """Group vectors that are similar enough on average.

    Two groups merge where each is the other's nearest that it may join, measured from what they need: for average
    linkage that gives what merging the nearest pair of all, again and again, gives (Murtagh 1983), and many pairs merge
    at once. The similarity of two groups is the weighted average of their members' dot products, which is the dot
    product of their weighted means. The result does not depend on the order of the vectors, but for exact ties.

    Parameters
    ----------
    vectors: float32 [N, D], unit length, or averages of such.
    weights: float [N], above 0.
    conflicts: int64 [C, 2], rows that are never in one group.
    need: from the number of groups that there are to the least similarity at which two of them are one; it may grow
    with the number.
    own_needs: float32 [N], what a row needs at least; a group needs the weighted average of its rows'. None: nothing.
    groups: int64 [N], rows of one number start as one group; None: each row is one.
    rows: int64 [N], which rows of ``vectors`` are meant, so that millions need not be copied to choose some; None: all.
    pairs: finds the candidates; see :func:`similar_pairs`.

    Returns int64 [N]: the group of each row, counted from 0 in order of the first row.
    """
    chosen = np.arange(len(vectors)) if rows is None else rows
    if not len(chosen):
        return np.zeros(0, np.int64)
    start = np.arange(len(chosen)) if groups is None else groups
    _, label = np.unique(start, return_inverse=True)
    count = int(label.max()) + 1
    weighted = np.asarray(weights, np.float32)
    sums, total = _totals(vectors, chosen, weighted, label, count)
    own = np.full(len(chosen), -1, np.float32) if own_needs is None else np.asarray(own_needs, np.float32)
    needs = np.bincount(label, weights=own * weighted, minlength=count).astype(np.float32)
    enemies = label[conflicts.reshape(-1, 2)]
    search = 0
    while True:
        least = need(len(total))
        probes = _PROBES[min(search, len(_PROBES) - 1)]
        one, other, value = pairs(sums, least, scale=1 / total, probes=probes, seed=search)
        into = _merge_all(_Groups(sums, total, needs, np.float32(least)), enemies, (one, other, value))
        alive, compact = np.unique(into, return_inverse=True)
        last = len(total) <= EXACT_UP_TO or search >= len(_PROBES) - 1
        before = len(total)
        if len(alive) < before:
            sums, total, needs = sums[alive], total[alive], needs[alive]
            label, enemies = compact[label], compact[enemies]
        search += 1
        # Few more would be found by another search over lists.
        if last and before - len(alive) <= (0 if before <= EXACT_UP_TO else before // 1000):
            break
    return _in_order(label)


def _totals(vectors: Array, chosen: Array, weights: Array, label: Array, count: int) -> tuple[Array, Array]:
    """Return the weighted sums of the groups, float32 [count, D], and their weights; one copy of the vectors is made."""
    order = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[order], np.arange(count + 1))
    sums = np.empty((count, vectors.shape[1]), np.float32)
    for first in range(0, count, _CHUNK):
        last = min(first + _CHUNK, count)
        rows = order[starts[first] : starts[last]]
        part = vectors[chosen[rows]]
        part *= weights[rows, None]
        sums[first:last] = np.add.reduceat(part, starts[first:last] - starts[first], axis=0)
    return sums, np.add.reduceat(weights[order], starts[:-1])


@dataclass(slots=True)
class _Groups:
    sums: Array
    """float32 [G, D]: weighted sums of the vectors."""
    total: Array
    """float32 [G]: sums of the weights."""
    needs: Array
    """float32 [G]: weighted sums of what the rows need."""
    least: np.float32
    """What every group needs."""

    def add(self, stays: Array, goes: Array) -> None:
        for part in (self.sums, self.total, self.needs):
            part[stays] += part[goes]

    def similarities(self, one: Array, other: Array) -> Array:
        result = np.empty(len(one), np.float32)
        for start in range(0, len(one), _CHUNK):
            a, b = one[start : start + _CHUNK], other[start : start + _CHUNK]
            dots = np.einsum("ij,ij->i", self.sums[a], self.sums[b])
            result[start : start + _CHUNK] = dots / (self.total[a] * self.total[b])
        return result

    def excess(self, one: Array, other: Array, similarity: Array) -> Array:
        """Return by how much pairs of groups are more alike than they need to be."""
        need = np.maximum(self.needs / self.total, self.least)
        return np.asarray(similarity - np.maximum(need[one], need[other]))


def _merge_all(groups: _Groups, enemies: Array, edges: tuple[Array, Array, Array]) -> Array:
    """Merge along the edges until none is left; merged groups are added up in place.

    Returns int64 [G]: the group that each became part of.
    """
    count = len(groups.total)
    into = np.arange(count)
    one, other, value = edges
    banned = _keys(enemies[:, 0], enemies[:, 1], count)
    value = groups.excess(one, other, value)
    keep = ~_among(_keys_unsorted(one, other, count), banned)
    keep &= value >= 0
    one, other, value = one[keep], other[keep], value[keep]
    while len(one):
        best = np.full(count, -np.inf, np.float32)
        np.maximum.at(best, one, value)
        np.maximum.at(best, other, value)
        mutual = np.flatnonzero((value == best[one]) & (value == best[other]))
        mutual = mutual[_matching(one[mutual], other[mutual])]
        stays, goes = one[mutual], other[mutual]
        groups.add(stays, goes)
        step = np.arange(count)
        step[goes] = stays
        into = step[into]
        touched = np.zeros(count, bool)
        touched[stays] = touched[goes] = True
        banned = _contract(banned, step, touched, count)
        changed = touched[one] | touched[other]
        one, other = step[one], step[other]
        low, high = np.minimum(one, other), np.maximum(one, other)
        keep = low != high
        keep[changed] &= ~_among((low * count + high)[changed], banned)
        low, high, value, changed = low[keep], high[keep], value[keep], changed[keep]
        _, first = np.unique(low * count + high, return_index=True)
        one, other, value, changed = low[first], high[first], value[first], changed[first]
        again = np.flatnonzero(changed)
        a, b = one[again], other[again]
        value[again] = groups.excess(a, b, groups.similarities(a, b))
        keep = value >= 0
        one, other, value = one[keep], other[keep], value[keep]
    return into


def _matching(one: Array, other: Array) -> Array:
    """Return places of pairs that share no row. Rows repeat only where similarities are exactly the same."""
    chosen, used = [], set()
    if len(np.unique(np.concatenate([one, other]))) == 2 * len(one):
        return np.arange(len(one))
    for place, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        if a not in used and b not in used:
            used |= {a, b}
            chosen.append(place)
    return np.array(chosen, np.int64)


def _keys_unsorted(one: Array, other: Array, count: int) -> Array:
    return np.asarray(np.minimum(one, other) * count + np.maximum(one, other))


def _keys(one: Array, other: Array, count: int) -> Array:
    return np.unique(_keys_unsorted(one, other, count))


def _contract(keys: Array, step: Array, touched: Array, count: int) -> Array:
    one, other = keys // count, keys % count
    changed = touched[one] | touched[other]
    if not changed.any():
        return keys
    moved = _keys(step[one[changed]], step[other[changed]], count)
    return np.asarray(np.unique(np.concatenate([keys[~changed], moved])))


def _among(keys: Array, of: Array) -> Array:
    if not len(of):
        return np.zeros(len(keys), bool)
    place = np.minimum(np.searchsorted(of, keys), len(of) - 1)
    return np.asarray(of[place] == keys)


def _in_order(label: Array) -> Array:
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse])
