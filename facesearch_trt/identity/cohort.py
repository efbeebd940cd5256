"""How alike strangers look to somebody: measured on those who are surely strangers, whatever the light and the embedder.

In each other clip a person is at most one of its people, so the second most alike of them is a stranger. That is the
cohort of score normalisation in speaker and face recognition (adaptive S-norm; Matějka et al. 2017), taken from the
data itself.
"""

from __future__ import annotations

import zlib

import numpy as np

from ..types import Array

__all__ = ["strangers_likeness"]

_MOST_CLIPS = 64
"""Clips that are looked at; which ones depends on their people, not on their order."""
_LEAST_CLIPS = 4
"""With fewer clips nothing is said."""
_CHUNK = 16_384
"""Rows whose similarity is computed at once."""


def strangers_likeness(vectors: Array, clips: Array, solid: Array, share: float) -> Array:
    """Return float32 [N]: the cosine below which ``share`` of the most alike strangers of each row lie; -1 where too few
    clips show it.

    Parameters
    ----------
    vectors: float32 [N, D], unit.
    clips: int64 [N], the clip of each row.
    solid: bool [N], rows that are surely somebody; the others may be a second piece of a person, and are no strangers.
    share: of a row's strangers, one per clip, 0 to 1.
    """
    result = np.full(len(vectors), -1, np.float32)
    chosen = _chosen(vectors, clips, solid)
    if len(chosen) < _LEAST_CLIPS:
        return result
    columns = np.concatenate([rows for _, rows in chosen])
    ends = np.cumsum([len(rows) for _, rows in chosen])
    for start in range(0, len(vectors), _CHUNK):
        block = vectors[start : start + _CHUNK] @ vectors[columns].T
        here = clips[start : start + _CHUNK]
        itself = np.arange(start, start + len(block))[:, None] == columns[None]
        block[itself] = -np.inf
        likeness = np.empty((len(block), len(chosen)), np.float32)
        for place, ((clip, rows), end) in enumerate(zip(chosen, ends.tolist(), strict=True)):
            part = np.sort(block[:, end - len(rows) : end], axis=1)
            # All others of its own clip are strangers.
            likeness[:, place] = np.where(here == clip, part[:, -1], part[:, -2])
        result[start : start + _CHUNK] = np.quantile(likeness, share, axis=1)
    return result


def _chosen(vectors: Array, clips: Array, solid: Array) -> list[tuple[int, Array]]:
    rows = np.flatnonzero(solid)
    if not len(rows):
        return []
    order = rows[np.argsort(clips[rows], kind="stable")]
    numbers, starts = np.unique(clips[order], return_index=True)
    groups = [
        (int(number), part) for number, part in zip(numbers, np.split(order, starts[1:]), strict=True) if len(part) > 2
    ]
    if len(groups) <= _MOST_CLIPS:
        return groups
    keys = [min(zlib.crc32(vectors[row].tobytes()) for row in part.tolist()) for _, part in groups]
    return [groups[place] for place in sorted(np.argsort(keys, kind="stable")[:_MOST_CLIPS].tolist())]
