"""The cosines of all pairs of some vectors, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..types import Array

__all__ = ["blocks_of_pairs"]

_CELLS = 1 << 20
"""Pairs in a block."""


def blocks_of_pairs(vectors: Array) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Yield rows, int64 [R, 1], columns, int64 [1, C], their cosines, float32 [R, C], and which of them count, bool [R, C], so that
    every pair of ``vectors``, float32 [N, D] unit, counts once; in order of rows, then columns."""
    count, start = len(vectors), 0
    while start < count:
        stop = start + max(1, _CELLS // (count - start))
        cosines = (vectors[start:stop] @ vectors[start:].T).astype(np.float32, copy=False)
        rows, columns = np.arange(start, start + len(cosines))[:, None], np.arange(start, count)[None]
        yield rows, columns, cosines, columns > rows
        start = stop
