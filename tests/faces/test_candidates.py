from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.faces.candidates import Candidates, keep_best
from facesearch_trt.types import Array


def literal(boxes: Array, scores: Array, iou: float, edge: float) -> list[int]:
    """Return what greedy suppression keeps, word by word."""
    left = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if overlap(boxes[best], boxes[i], edge) <= iou]
    return kept


def overlap(a: Array, b: Array, edge: float) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0]) + edge
    high = min(a[3], b[3]) - max(a[1], b[1]) + edge
    shared = max(wide, 0) * max(high, 0)
    area = [(c[2] - c[0] + edge) * (c[3] - c[1] + edge) for c in (a, b)]
    return shared / (area[0] + area[1] - shared) if shared else 0.0


@given(st.integers(0, 10_000), st.integers(0, 80), st.sampled_from([0.0, 0.3, 0.5, 0.95]), st.sampled_from([0.0, 1.0]))
def test_it_is_greedy_suppression(seed: int, count: int, iou: float, edge: float) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)
    # Few values, so that many scores are equal.
    scores = random.integers(0, 5, count).astype(np.float32) / 5
    kept = keep_best(boxes, scores, iou, edge_px=edge)
    assert kept.tolist() == literal(boxes.astype(np.float64), scores, iou, edge)


def test_what_a_removed_box_covers_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert keep_best(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.3).tolist() == [0, 2]


def test_an_overlap_of_just_the_limit_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    scores = np.array([0.5, 0.6], np.float32)
    third = 50 / 150
    assert keep_best(boxes, scores, third + 1e-6).tolist() == [1, 0]
    assert keep_best(boxes, scores, third - 1e-6).tolist() == [1]


@pytest.mark.parametrize("count", [0, 1])
def test_few_boxes(count: int) -> None:
    boxes = np.zeros((count, 4), np.float32)
    assert keep_best(boxes, np.ones(count, np.float32), 0.3).tolist() == list(range(count))


def test_candidates_stay_together() -> None:
    parts = [
        Candidates(
            np.full((count, 4), start, np.float32),
            np.full(count, start, np.float32),
            np.full((count, 5, 2), start, np.float32),
        )
        for start, count in ((1, 2), (2, 0), (3, 1))
    ]
    joined = Candidates.concatenate(parts).select(np.array([2, 0]))
    assert [column.reshape(2, -1)[:, 0].tolist() for column in joined] == [[3, 1]] * 3
