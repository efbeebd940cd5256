"""Shot boundaries."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facesearch_trt.identity.shots import LOOK_AHEAD, mark_shots
from facesearch_trt.types import Frame


def scene(seed: int, width: int = 1280, height: int = 180, dark: float = 1.0) -> np.ndarray:
    """A made-up wide picture: coloured shapes over a gradient."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 255, (3, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        at = rng.integers(0, [width, height]).tolist()
        size = int(rng.integers(5, 60))
        colour = rng.integers(0, 255, 3).tolist()
        cv2.circle(image, at, size, colour, -1)
    return np.clip(image * dark, 0, 255).astype(np.uint8)


def view(image: np.ndarray, x: float = 0, gain: float = 1.0, width: int = 320) -> np.ndarray:
    return np.clip(image[:, round(x) : round(x) + width].astype(np.float32) * gain, 0, 255).astype(np.uint8)


def cuts(pictures: list[np.ndarray]) -> list[int]:
    noise = np.random.default_rng(0)
    frames = []
    for number, picture in enumerate(pictures):
        noisy = np.clip(picture + noise.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
        frames.append(Frame(number, number / 30, picture.shape[1], picture.shape[0], image=noisy))
    marked = list(mark_shots(frames))
    assert [frame.frame_num for frame in marked] == list(range(len(pictures)))
    assert all(frame.image is picture.image for frame, picture in zip(marked, frames, strict=True))
    shots = np.array([frame.shot for frame in marked])
    assert shots[0] == 0
    return (np.flatnonzero(np.diff(shots)) + 1).tolist()


@pytest.mark.parametrize("dark", [1.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_hard_cuts_are_found(seed, dark):
    shots = [scene(10 * seed + k, dark=dark) for k in range(4)]
    pictures = [view(shots[k], 3 * j) for k in range(4) for j in range(12)]
    assert cuts(pictures) == [12, 24, 36]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("speed", [5, 40, 60])
def test_a_pan_does_not_cut(seed, speed):
    image = scene(seed, width=3000)
    assert cuts([view(image, speed * j) for j in range(40)]) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [1, 3, LOOK_AHEAD])
def test_a_flash_does_not_cut(seed, length):
    image = scene(seed)
    flash = range(15, 15 + length)
    assert cuts([view(image, j, 4.0 if j in flash else 1.0) for j in range(40)]) == []
    assert cuts([view(image, j) * 0 + 255 if j in flash else view(image, j) for j in range(40)]) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_step_of_the_lighting_does_not_cut(seed):
    image = scene(seed)
    assert cuts([view(image, j, 0.4 if j >= 20 else 1.0) for j in range(40)]) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_fade_out_and_in_does_not_cut(seed):
    image = scene(seed)
    gains = [1.0] * 10 + list(np.linspace(1, 0, 10)) + list(np.linspace(0, 1, 10)) + [1.0] * 10
    assert cuts([view(image, 0, gain) for gain in gains]) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_fade_to_another_scene_cuts_once(seed):
    gains = [1.0] * 10 + list(np.linspace(1, 0, 10)) + list(np.linspace(0, 1, 10)) + [1.0] * 10
    shots = [scene(seed), scene(seed + 50)]
    found = cuts([view(shots[j >= 20], 0, gain) for j, gain in enumerate(gains)])
    assert len(found) == 1
    assert 18 <= found[0] <= 24


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [8, 14, 20])
def test_a_dissolve_cuts_once(seed, length):
    one, other = view(scene(seed)).astype(np.float32), view(scene(seed + 50)).astype(np.float32)
    shares = [0.0] * 20 + list(np.linspace(0, 1, length)) + [1.0] * 20
    found = cuts([((1 - share) * one + share * other).astype(np.uint8) for share in shares])
    assert len(found) == 1
    assert 20 <= found[0] <= 20 + length


def test_unrelated_photos_are_a_shot_each_and_a_series_is_one():
    photos = [
        view(scene(1)),
        view(scene(2)),
        view(scene(3), 0),
        view(scene(3), 10),
        view(scene(4))[:, :200],
        view(scene(5)),
    ]
    assert cuts(photos) == [1, 2, 4, 5]


def test_frames_without_a_picture_stay_in_the_shot():
    frames = [Frame(number, 0.0, 320, 180) for number in range(20)]
    assert [frame.shot for frame in mark_shots(frames)] == [0] * 20


def test_few_frames_are_held_back():
    read = []

    def source():
        for number in range(50):
            read.append(number)
            yield Frame(number, 0.0, 320, 180, image=view(scene(0)))

    for given, _ in enumerate(mark_shots(source())):
        assert len(read) - given <= LOOK_AHEAD + 1
    assert list(mark_shots([])) == []


def test_the_cuts_of_a_real_clip(shared_data):
    video = cv2.VideoCapture(str(shared_data / "clips" / "hamilton.mp4"))
    pictures = []
    while (read := video.read())[0]:
        pictures.append(read[1])
    frames = [Frame(n, n / 30, 640, 360, image=picture) for n, picture in enumerate(pictures)]
    shots = np.array([frame.shot for frame in mark_shots(frames)])
    assert (np.flatnonzero(np.diff(shots)) + 1).tolist() == [20, 82, 211]


def test_a_clip_of_one_shot_has_no_cut(shared_data):
    video = cv2.VideoCapture(str(shared_data / "clips" / "no_faces.mp4"))
    frames = []
    while (read := video.read())[0] and len(frames) < 400:
        frames.append(Frame(len(frames), 0.0, 768, 432, image=cv2.resize(read[1], (192, 108))))
    assert {frame.shot for frame in mark_shots(frames)} == {0}
