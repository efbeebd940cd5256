from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.detect import with_chips
from facesearch_trt.faces.embed import Embedder
from facesearch_trt.faces.quality import face_quality
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.types import QUALITY_COLUMNS, Array, FaceBatch

from .doubles import embedder_spec

BOX = np.array([181.3, 53.8, 273.8, 178.1], np.float32)
LANDMARKS = np.array([[205.0, 96.9], [247.5, 102.8], [222.3, 126.6], [201.0, 141.1], [239.0, 146.4]], np.float32)
"""Of the face in scikit-image's astronaut picture."""
ALIGNERS = [Aligner("arcface", 112), Aligner("dlib", 150)]


@pytest.fixture(scope="module")
def astronaut() -> Array:
    return np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:, :, ::-1])


def quality(image: Array, aligner: Aligner, scale: float = 1.0, landmarks: Array = LANDMARKS) -> dict[str, float]:
    face = FaceBatch(BOX[None] * np.float32(scale), np.ones(1, np.float32), landmarks[None] * np.float32(scale))
    table = with_chips(face, image, aligner).quality
    assert table is not None
    assert table.dtype == np.float32
    assert table.shape == (1, 4)
    return dict(zip(QUALITY_COLUMNS, table[0].tolist(), strict=True))


def shrunk(image: Array, scale: float) -> Array:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def falls(values: list[float]) -> bool:
    return all(a >= b for a, b in pairwise(values)) and values[0] > values[-1]


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_a_sharp_frontal_face_is_good_down_to_40_px(astronaut: Array, aligner: Aligner) -> None:
    assert quality(astronaut, aligner)["quality"] > 0.8
    size = quality(astronaut, aligner)["size_px"]
    assert size == pytest.approx(107.2, abs=0.1)
    at = {px: quality(shrunk(astronaut, px / size), aligner, px / size) for px in (80, 60, 40, 30, 20)}
    assert at[40]["size_px"] == pytest.approx(40, abs=0.1)
    assert at[40]["quality"] > 0.5
    assert at[20]["quality"] < 0.05
    assert falls([one["quality"] for one in at.values()])
    # Sharpness tells blur from smallness.
    assert at[40]["sharpness"] > 0.8


@pytest.mark.parametrize("aligner", ALIGNERS)
@pytest.mark.parametrize("px", [107.2, 60, 40])
def test_blur_lowers_sharpness_and_quality_alike_at_every_size(astronaut: Array, aligner: Aligner, px: float) -> None:
    scale = px / 107.2
    small = shrunk(astronaut, scale) if scale < 1 else astronaut
    blurred = [small] + [cv2.GaussianBlur(small, (0, 0), share * px / 100) for share in (1, 1.5, 2, 3, 4, 6)]
    found = [quality(image, aligner, scale) for image in blurred]
    assert falls([one["sharpness"] for one in found])
    assert falls([one["quality"] for one in found])
    assert found[4]["sharpness"] < 0.5
    assert found[6]["quality"] < 0.05


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_motion_blur_lowers_it_too(astronaut: Array, aligner: Aligner) -> None:
    smeared = [cv2.blur(astronaut, (length, 1)) for length in (1, 5, 9, 13, 19)]
    assert falls([quality(image, aligner)["sharpness"] for image in smeared])


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_light_and_contrast_hardly_matter(astronaut: Array, aligner: Aligner) -> None:
    soft = cv2.GaussianBlur(astronaut, (0, 0), 2)
    sharpness = quality(soft, aligner)["sharpness"]
    assert 0.5 < sharpness < 0.8
    for dark in (0.5, 0.25):
        assert quality((soft * dark).astype(np.uint8), aligner)["sharpness"] == pytest.approx(sharpness, abs=0.05)


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_noise_and_emptiness_are_not_sharp(aligner: Aligner) -> None:
    eyes_px = float(aligner.points[1, 0] - aligner.points[0, 0])
    noise = np.random.default_rng(0).integers(0, 256, (1, aligner.size, aligner.size, 3), np.uint8)
    for chips in (noise, np.full_like(noise, 90)):
        assert face_quality(BOX[None], LANDMARKS[None], chips, eyes_px)[0, 1] < 0.1


def turned(yaw: float = 0, pitch: float = 0, roll: float = 0) -> Array:
    """Return the landmarks of a face in space, 100 px between the eyes, seen from the front after a turn in degrees."""
    face = np.array([[-50, -55, 0], [50, -55, 0], [0, 2, -50], [-38, 58, 0], [38, 58, 0]], float)
    y, p, r = np.radians([yaw, pitch, roll])
    around_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    around_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return ((face @ (around_z @ around_x @ around_y).T)[:, :2] + 256).astype(np.float32)


def frontal(landmarks: Array) -> float:
    return quality(np.zeros((512, 512, 3), np.uint8), ALIGNERS[0], 1.0, landmarks)["frontal"]


def test_frontal_falls_with_the_angle_on_both_sides() -> None:
    assert frontal(turned()) > 0.97
    for direction in (1, -1):
        assert falls([frontal(turned(yaw=direction * angle)) for angle in range(0, 91, 10)])
        assert falls([frontal(turned(pitch=direction * angle)) for angle in (5, 15, 25, 40, 60)])
    assert frontal(turned(yaw=30)) > 0.6
    assert frontal(turned(yaw=85)) < 0.1
    assert frontal(turned(yaw=-110)) < 0.1


def test_roll_does_not_matter() -> None:
    for roll in (-170, -90, -20, 45, 180):
        assert frontal(turned(yaw=25, pitch=10, roll=roll)) == pytest.approx(
            frontal(turned(yaw=25, pitch=10)), abs=0.002
        )


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 40), turned()[[1, 0, 2, 4, 3]], turned()[[0, 1, 2, 0, 1]]])
def test_landmarks_of_no_face_are_not_frontal(landmarks: Array) -> None:
    assert frontal(landmarks.astype(np.float32)) < 0.05


def test_no_faces() -> None:
    table = with_chips(FaceBatch.empty(), np.zeros((10, 10, 3), np.uint8), ALIGNERS[0]).quality
    assert table is not None
    assert table.shape == (0, 4)
    assert table.dtype == np.float32


def test_quality_follows_what_an_embedder_loses(astronaut: Array, shared_models: Path) -> None:
    """Over blurs and smears the order of quality is that of the cosine to the untouched face's embedding."""
    aligner = ALIGNERS[0]
    shown = [astronaut]
    shown += [cv2.GaussianBlur(astronaut, (0, 0), sigma) for sigma in (1, 1.5, 2, 3, 4, 6)]
    shown += [cv2.blur(astronaut, (length, 1)) for length in (5, 7, 9, 13, 19)]
    found = [quality(image, aligner)["quality"] for image in shown]
    chips = np.concatenate([aligner.chips(image, LANDMARKS[None]) for image in shown])
    spec = embedder_spec(chip_size=112, dimension=128)
    with OnnxRuntimeEngine(shared_models / "mobilefacenet_arcface_y1.onnx") as engine:
        embeddings = Embedder(engine, spec, batch=8).embed(chips)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    ranks = [np.argsort(np.argsort(values)) for values in (found, embeddings @ embeddings[0])]
    assert np.corrcoef(*ranks)[0, 1] > 0.9
