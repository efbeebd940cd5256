"""All pairs of photos: each once, with its cosine, and in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from facesearch_trt.people import pairs
from facesearch_trt.people.calibration import calibrate
from facesearch_trt.types import Array


def vectors(count: int, dimension: int) -> Array:
    found = np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("cells", [1, 40, 1 << 20])
def test_every_pair_once_and_in_order(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_CELLS", cells)
    some = vectors(23, 8)
    blocks = list(pairs.blocks_of_pairs(some))
    one, other = np.triu_indices(23, 1)
    found = np.concatenate([np.broadcast_to(rows, counts.shape)[counts] for rows, _, _, counts in blocks])
    np.testing.assert_array_equal(found, one)
    found = np.concatenate([np.broadcast_to(columns, counts.shape)[counts] for _, columns, _, counts in blocks])
    np.testing.assert_array_equal(found, other)
    cosines = np.concatenate([cosines[counts] for _, _, cosines, counts in blocks])
    np.testing.assert_allclose(cosines, np.einsum("ij,ij->i", some[one], some[other]), atol=1e-6)
    assert cosines.dtype == np.float32
    assert list(pairs.blocks_of_pairs(some[:0])) == []


def test_memory_of_a_calibration() -> None:
    some, people = vectors(800, 512), [str(number // 4) for number in range(800)]
    tracemalloc.start()
    calibrate(some, people, 0.01)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6, "320,000 pairs; a row of each would be 1,300 MB"
