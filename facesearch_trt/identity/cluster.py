"""Average-linkage clustering of weighted vectors under cannot-link constraints, without an n² matrix."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from ..types import Array

__all__ = ["agglomerate"]


def agglomerate(
    vectors: Array,
    weights: Array,
    conflicts: Iterable[tuple[int, int]],
    threshold: float,
    *,
    neighbours: int = 64,
) -> Array:
    """Group unit vectors whose average similarity is at least ``threshold``.

    Clusters merge in the order of their similarity, the weighted average of the dot products of their members, which is
    exactly the dot product of the clusters' weighted means. So a cluster is its sum and its weight, and no matrix of
    pairs is kept. Two clusters that hold a conflicting pair never merge. Candidates are the ``neighbours`` nearest
    clusters that may merge; rounds go on until no pair at all can. The result depends on the vectors, not on their
    order, but for exact ties.

    Parameters
    ----------
    vectors: float32 [N, D], unit length.
    weights: float [N], above 0.
    conflicts: pairs of row numbers that are never in one group.

    Returns int32 [N], the group of each row; numbers count from 0 in order of first appearance.
    """
    count = len(vectors)
    weights = np.asarray(weights, np.float64)
    state = _Clusters(np.asarray(vectors, np.float64) * weights[:, None], weights, count)
    for one, other in conflicts:
        state.forbid(one, other)
    while state.merge_round(threshold, neighbours):
        pass
    return state.labels()


class _Clusters:
    def __init__(self, sums: Array, weights: Array, count: int) -> None:
        self._sums = list(sums)
        self._weights = [float(weight) for weight in weights]
        self._enemies: list[set[int]] = [set() for _ in range(count)]
        self._parent = list(range(count))
        self._alive = dict.fromkeys(range(count))
        self._count = count

    def forbid(self, one: int, other: int) -> None:
        if one != other:
            self._enemies[one].add(other)
            self._enemies[other].add(one)

    def labels(self) -> Array:
        numbers: dict[int, int] = {}
        return np.array([numbers.setdefault(self._root(row), len(numbers)) for row in range(self._count)], np.int32)

    def _root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def merge_round(self, threshold: float, neighbours: int) -> bool:
        """Merge what the present neighbour lists allow; return whether anything merged."""
        heap, near = self._candidates(threshold, neighbours)
        merged = False
        while heap:
            _, one, other = heapq.heappop(heap)
            if one not in self._alive or other not in self._alive:
                continue
            merged = True
            new = self._merge(one, other)
            near[new] = {self._root(node) for node in near.pop(one) | near.pop(other)} - {new}
            for node in near[new]:
                near[node].add(new)
                if node not in self._enemies[new] and (value := self._similarity(new, node)) >= threshold:
                    heapq.heappush(heap, (-value, node, new))
        return merged

    def _similarity(self, one: int, other: int) -> float:
        return float(self._sums[one] @ self._sums[other]) / (self._weights[one] * self._weights[other])

    def _merge(self, one: int, other: int) -> int:
        new = len(self._parent)
        self._parent[one] = self._parent[other] = new
        self._parent.append(new)
        self._sums.append(self._sums[one] + self._sums[other])
        self._weights.append(self._weights[one] + self._weights[other])
        enemies = self._enemies[one] | self._enemies[other]
        for enemy in enemies:
            self._enemies[enemy] -= {one, other}
            self._enemies[enemy].add(new)
        self._enemies.append(enemies)
        self._sums[one] = self._sums[other] = None
        self._enemies[one] = self._enemies[other] = set()
        del self._alive[one], self._alive[other]
        self._alive[new] = None
        return new

    def _candidates(
        self, threshold: float, neighbours: int
    ) -> tuple[list[tuple[float, int, int]], dict[int, set[int]]]:
        """Return the heap of mergeable pairs (-similarity, one, other) and the neighbours of each cluster."""
        nodes = np.array(list(self._alive), np.int64)
        place = {node: row for row, node in enumerate(nodes.tolist())}
        means = np.stack([self._sums[node] / self._weights[node] for node in nodes]) if len(nodes) else np.zeros((0, 1))
        near: dict[int, set[int]] = {node: set() for node in nodes.tolist()}
        pairs: dict[tuple[int, int], None] = {}
        means32 = means.astype(np.float32)
        for start in range(0, len(nodes), 1024):
            block = means32[start : start + 1024] @ means32.T
            for row, values in enumerate(block):
                node = int(nodes[start + row])
                values[start + row] = -np.inf
                values[[place[enemy] for enemy in self._enemies[node]]] = -np.inf
                able = np.flatnonzero(values >= threshold - 1e-6)
                if len(able) > neighbours:
                    able = able[np.argsort(-values[able], kind="stable")[:neighbours]]
                for column in able:
                    other = int(nodes[column])
                    near[node].add(other)
                    near[other].add(node)
                    pairs[min(node, other), max(node, other)] = None
        heap = []
        for one, other in pairs:
            value = self._similarity(one, other)
            if value >= threshold:
                heap.append((-value, one, other))
        heapq.heapify(heap)
        return heap, near
