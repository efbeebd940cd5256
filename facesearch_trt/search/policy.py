"""When an index searches exactly, when through an approximate index, and when it tidies itself up. Only arithmetic.

The numbers were measured with 10⁴ to 10⁶ vectors; ``benchmarks/bench_index.py`` measures them again.
"""

from __future__ import annotations

import math

__all__ = [
    "APPROXIMATE_FROM_ROWS",
    "CODE_BITS",
    "RETAIN_S",
    "approximate",
    "can_approximate",
    "due_for_compaction",
    "due_for_rebuild",
    "partitions",
    "probes",
    "refine_factor",
]

APPROXIMATE_FROM_ROWS = 100_000
"""Vectors from which an approximate index is built: an exact search of so many takes about 0.1 s on two cores."""

CODE_BITS = 4
"""Bits a number of a vector's RaBitQ code: with twice the asked-for candidates ranked again by their true distance,
0.998 and more of the exact answer is found (1 bit: 0.70, 2 bits: 0.90, 3 bits: 0.985)."""

RETAIN_S = 120
"""How long a replaced version of a table is kept for readers that are still in it."""

_ROWS_PER_PARTITION = 4096
_PROBED_ROWS = 2_000_000
"""Up to so many rows every partition is looked at: scanning codes is quick, and a stranger's neighbours lie in all of
them."""

_ALL = 1_000_000
"""More partitions than there are."""

_SMALL_FRAGMENTS = 64
"""Every commit adds a fragment, every fragment costs each search about 0.2 ms and each commit 0.005 ms."""
_MANY_SMALL_FRAGMENTS = 512
_GROWTH = 8
_SEGMENTS = 24
"""Every tidying-up adds a segment to the approximate index, which costs each search about 0.5 ms."""


def can_approximate(dimension: int) -> bool:
    """Return whether vectors of this many numbers can have RaBitQ codes: they are packed by eight."""
    return dimension % 8 == 0


def approximate(rows: int, dimension: int) -> bool:
    """Return whether so many vectors should have an approximate index."""
    return rows >= APPROXIMATE_FROM_ROWS and can_approximate(dimension)


def partitions(rows: int) -> int:
    """Return into how many parts the approximate index divides so many vectors."""
    return max(1, round(rows / _ROWS_PER_PARTITION))


def probes(rows: int) -> int:
    """Return how many partitions a search looks at in a table of so many vectors."""
    return _ALL if rows <= _PROBED_ROWS else math.ceil(_PROBED_ROWS / _ROWS_PER_PARTITION)


def refine_factor(limit: int) -> int:
    """Return how many candidates a wanted row are ranked by their true distance: at least 50 in all."""
    return max(2, math.ceil(50 / max(1, limit)))


def due_for_compaction(small_fragments: int, small_rows: int, rows: int) -> bool:
    """Return whether to merge fragments.

    Merging copies the fragments it merges; waiting until the table has grown by an eighth keeps the sum of all copies
    at a few times the table, and the upper limit keeps searches quick while a large table grows clip by clip.
    """
    if small_fragments >= _MANY_SMALL_FRAGMENTS:
        return True
    return small_fragments >= _SMALL_FRAGMENTS and small_rows * _GROWTH >= rows


def due_for_rebuild(segments: int, unindexed_rows: int, rows: int) -> bool:
    """Return whether to build the approximate index anew: it has too many segments, or most rows are not in it."""
    return segments >= _SEGMENTS or unindexed_rows * 2 > rows
