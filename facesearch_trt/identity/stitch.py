"""Joins the pieces of a track that broke: the same face a moment later at the place where it should be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..types import Array
from .describe import TrackDescription
from .scale import SimilarityScale

__all__ = ["stitch"]


def stitch(
    tracks: Sequence[TrackDescription], conflicts: Iterable[tuple[int, int]], scale: SimilarityScale, max_age: int
) -> Array:
    """Return the piece of each track, int32 [T]: tracks of one shot that continue each other share a number.

    A track continues another that ended within ``max_age`` frames before it began, about where that one was heading and
    of its size, where nothing in the appearance speaks against it and no other track fits as well. Pieces whose tracks
    share a frame are never joined.
    """
    parent = list(range(len(tracks)))
    enemies: list[set[int]] = [set() for _ in tracks]
    for one, other in conflicts:
        enemies[one].add(other)
        enemies[other].add(one)
    by_shot: dict[int, list[int]] = {}
    for row, track in enumerate(tracks):
        by_shot.setdefault(track.shot, []).append(row)
    links = []
    for rows in by_shot.values():
        links += _links(tracks, rows, scale, max_age)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    used_end: set[int] = set()
    used_start: set[int] = set()
    for _, before, after in sorted(links):
        if before in used_end or after in used_start:
            continue
        one, other = root(before), root(after)
        if one == other or other in enemies[one]:
            continue
        used_end.add(before)
        used_start.add(after)
        parent[other] = one
        for enemy in enemies[other]:
            enemies[enemy].discard(other)
            enemies[enemy].add(one)
        enemies[one] |= enemies[other]
    return np.array([root(row) for row in range(len(tracks))], np.int32)


def _links(
    tracks: Sequence[TrackDescription], rows: list[int], scale: SimilarityScale, max_age: int
) -> list[tuple[float, int, int]]:
    starts = sorted(rows, key=lambda row: tracks[row].first_frame)
    frames = np.array([tracks[row].first_frame for row in starts])
    links = []
    for before in rows:
        end = tracks[before]
        low, high = np.searchsorted(frames, [end.last_frame + 1, end.last_frame + max_age + 1])
        for after in starts[low:high]:
            cost = _cost(end, tracks[after], scale, max_age)
            if cost is not None:
                links.append((cost, before, after))
    return links


def _cost(end: TrackDescription, start: TrackDescription, scale: SimilarityScale, max_age: int) -> float | None:
    gap = start.first_frame - end.last_frame
    size = [float(np.sqrt(np.maximum(p[1] - p[0], 1).prod())) for p in (end.last_points, start.first_points)]
    if abs(np.log(size[0] / size[1])) > 0.4:
        return None
    # A face that hides behind another may go on or wait, so both places are right.
    here, there = end.last_points[2:].mean(axis=0), start.first_points[2:].mean(axis=0)
    ahead = here + end.motion * np.float32(gap)
    moved = min(float(np.linalg.norm(there - here)), float(np.linalg.norm(there - ahead)))
    shift = moved / float(np.sqrt(size[0] * size[1]))
    evidence = float(scale(end.mean @ start.mean))
    sure = end.trusted > 0 and start.trusted > 0
    if sure and evidence < 0.8:
        return None
    if not sure and evidence < 0.3:
        return None
    reach = (0.8 if sure else 0.5) * (1 - gap / (max_age * 1.5))
    if shift > reach:
        return None
    return shift + 0.5 * gap / max_age - 0.5 * min(evidence, 1.5)
