"""Average-linkage clustering of weighted vectors under cannot-link constraints, one merge after the other.

Slow and plain: what ``linkage.py``, which the program uses, is measured against.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from facesearch_trt.types import Array

__all__ = ["agglomerate"]

_BLOCK = 1024
"""Rows of similarities computed at once."""


def agglomerate(
    vectors: Array,
    weights: Array,
    needs: Array,
    conflicts: Iterable[tuple[int, int]],
    *,
    neighbours: int = 64,
) -> Array:
    """Group unit vectors that are similar enough on average.

    Clusters merge in the order of how far their similarity exceeds what it needs to be. The similarity of two clusters
    is the weighted average of the dot products of their members, which is exactly the dot product of the clusters'
    weighted means; what they need is the larger of the weighted averages of their members' needs. So a cluster is a
    sum and a weight, and no matrix of pairs is kept. Two clusters that hold a conflicting pair never merge. Candidates
    are the ``neighbours`` nearest clusters that may merge; rounds go on until no pair at all can. The result depends on
    the vectors, not on their order, but for exact ties.

    Parameters
    ----------
    vectors: float32 [N, D], of unit length, or averages of such.
    weights: float [N], above 0.
    needs: float [N], least similarity at which each may join others.
    conflicts: pairs of row numbers that are never in one group.

    Returns int32 [N], the group of each row; numbers count from 0 in order of first appearance.
    """
    state = _Clusters(
        np.asarray(vectors, np.float64), np.asarray(weights, np.float64), np.asarray(needs, np.float64), conflicts
    )
    while state.merge_round(neighbours):
        pass
    return state.labels()


class _Clusters:
    def __init__(self, vectors: Array, weights: Array, needs: Array, conflicts: Iterable[tuple[int, int]]) -> None:
        self._sums = list(vectors * weights[:, None])
        self._weights = weights.tolist()
        self._needs = (needs * weights).tolist()
        self._count = len(weights)
        self._enemies: list[set[int]] = [set() for _ in range(self._count)]
        self._parent = list(range(self._count))
        self._alive = dict.fromkeys(range(self._count))
        for one, other in conflicts:
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

    def merge_round(self, neighbours: int) -> bool:
        """Merge what the present neighbour lists allow; return whether anything merged."""
        heap, near = self._candidates(neighbours)
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
                if node not in self._enemies[new] and (excess := self._excess(new, node)) >= 0:
                    heapq.heappush(heap, (-excess, node, new))
        return merged

    def _excess(self, one: int, other: int) -> float:
        """Return by how much the similarity of two clusters exceeds what they need."""
        weights = self._weights[one], self._weights[other]
        similarity = float(self._sums[one] @ self._sums[other]) / (weights[0] * weights[1])
        return float(similarity - max(self._needs[one] / weights[0], self._needs[other] / weights[1]))

    def _merge(self, one: int, other: int) -> int:
        new = len(self._parent)
        self._parent[one] = self._parent[other] = new
        self._parent.append(new)
        self._sums.append(self._sums[one] + self._sums[other])
        self._weights.append(self._weights[one] + self._weights[other])
        self._needs.append(self._needs[one] + self._needs[other])
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

    def _candidates(self, neighbours: int) -> tuple[list[tuple[float, int, int]], dict[int, set[int]]]:
        """Return the heap of pairs that may merge (-excess, one, other) and the neighbours of each cluster."""
        nodes = np.array(list(self._alive), np.int64)
        near: dict[int, set[int]] = {node: set() for node in nodes.tolist()}
        if not len(nodes):
            return [], near
        place = {node: row for row, node in enumerate(nodes.tolist())}
        means = np.stack([self._sums[node] / self._weights[node] for node in nodes]).astype(np.float32)
        needs = np.array([self._needs[node] / self._weights[node] for node in nodes], np.float32)
        pairs: dict[tuple[int, int], None] = {}
        for start in range(0, len(nodes), _BLOCK):
            block = means[start : start + _BLOCK] @ means.T
            for row, similarities in enumerate(block):
                node = int(nodes[start + row])
                values = similarities - np.maximum(needs, needs[start + row])
                values[start + row] = -np.inf
                values[[place[enemy] for enemy in self._enemies[node]]] = -np.inf
                able = np.flatnonzero(values >= -1e-6)
                if len(able) > neighbours:
                    able = able[np.argsort(-values[able], kind="stable")[:neighbours]]
                for column in able:
                    other = int(nodes[column])
                    near[node].add(other)
                    near[other].add(node)
                    pairs[min(node, other), max(node, other)] = None
        heap = [(-excess, one, other) for one, other in pairs if (excess := self._excess(one, other)) >= 0]
        heapq.heapify(heap)
        return heap, near
