from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.faces.align import TEMPLATES, Aligner, similarity_transforms
from facesearch_trt.types import Array


def moved(points: Array, angle: float, scale: float, shift: tuple[float, float]) -> Array:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


@given(st.floats(-3.1, 3.1), st.floats(0.05, 20), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_a_moved_template_comes_back(angle: float, scale: float, x: float, y: float) -> None:
    for name, (side, points) in TEMPLATES.items():
        (matrix,) = Aligner(name, side).transforms(moved(points, angle, scale, (x, y))[None])
        back = np.column_stack([moved(points, angle, scale, (x, y)), np.ones(5)]) @ matrix.T
        np.testing.assert_allclose(back, points, atol=1e-8)


@given(st.integers(0, 1000))
def test_no_other_similarity_fits_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    source, target = random.uniform(0, 100, (2, 5, 2))
    (matrix,) = similarity_transforms(source[None], target)
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[0, 1] == -matrix[1, 0]

    def error(change: Array) -> float:
        a, b, x, y = np.array([matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]]) + change
        return float(
            ((np.column_stack([source, np.ones(5)]) @ np.array([[a, -b, x], [b, a, y]]).T - target) ** 2).sum()
        )

    least = error(np.zeros(4))
    assert all(error(change) >= least for change in random.normal(0, 1, (20, 4)) * [1e-3, 1e-3, 0.1, 0.1])


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 30.0),
        # Mirrored so that turning and scaling in any way is no better than nothing at all.
        np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]], float),
    ],
)
def test_landmarks_that_fix_nothing_give_a_plain_cut(points: Array) -> None:
    target = np.array([[1, 0], [-1, 0], [0, -1], [0, 1], [0, 0]], float) + 50
    (matrix,) = similarity_transforms(points[None], target)
    np.testing.assert_allclose(matrix, [[1, 0, 50 - points[:, 0].mean()], [0, 1, 50 - points[:, 1].mean()]])


@pytest.mark.parametrize(("name", "size"), [("arcface", 112), ("arcface", 224), ("dlib", 150)])
def test_chips_show_the_landmarks_where_the_template_wants_them(name: str, size: int) -> None:
    """A red dot painted on each landmark of a turned face is found at its place in the chip."""
    aligner = Aligner(name, size)
    side, points = TEMPLATES[name]
    landmarks = moved(points * 200 / side, 0.4, 1.0, (150, 60))
    image = np.zeros((400, 500, 3), np.uint8)
    for x, y in landmarks:
        cv2.circle(image, (round(x), round(y)), 4, (0, 0, 255), -1)
    (chip,) = aligner.chips(image, landmarks[None].astype(np.float32))
    assert chip.shape == (size, size, 3)
    assert not chip[:, :, :2].any()
    count, _, _, centres = cv2.connectedComponentsWithStats((chip[:, :, 2] > 127).astype(np.uint8))
    assert count == 6
    expected = points * size / side
    for centre in centres[1:]:
        assert np.hypot(*(expected - centre).T).min() < 1


def test_beyond_the_frame_a_chip_is_black() -> None:
    _, points = TEMPLATES["arcface"]
    (chip,) = Aligner("arcface", 112).chips(
        np.full((60, 60, 3), 255, np.uint8), (points - [56, 0])[None].astype(np.float32)
    )
    assert (chip[:59, 57:] == 255).all()
    assert not chip[61:].any()
    assert not chip[:, :55].any()


def test_no_faces() -> None:
    chips = Aligner("dlib", 150).chips(np.zeros((10, 10, 3), np.uint8), np.zeros((0, 5, 2), np.float32))
    assert chips.shape == (0, 150, 150, 3)


@pytest.mark.parametrize("shape", [(100, 33_000), (33_000, 100)])
def test_pictures_larger_than_opencv_can_warp(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    image = np.zeros((*shape, 3), np.uint8)
    tall = shape[0] > shape[1]
    start = (32_800, 0) if tall else (0, 32_800)
    patch = random.integers(0, 256, (100, 100, 3), np.uint8)
    image[start[0] : start[0] + 100, start[1] : start[1] + 100] = patch
    _, points = TEMPLATES["arcface"]
    landmarks = moved(points, 0.3, 0.8, (10, 5))
    aligner = Aligner("arcface", 112)
    there = aligner.chips(image, (landmarks + start[::-1])[None])[0]
    here = aligner.chips(patch, landmarks[None])[0]
    difference = np.abs(there.astype(int) - here)
    # The chip also sees the black that lies beside the patch; inside, the fixed-point warp may differ by a step.
    assert np.count_nonzero(difference > 8) < 0.01 * there.size
