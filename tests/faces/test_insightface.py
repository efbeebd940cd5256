"""InsightFace's own classes, on the same ONNX files and pictures, are the reference for SCRFD and ArcFace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facesearch_trt.errors import ModelError
from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.detect import Detector
from facesearch_trt.faces.embed import Embedder
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.types import Array

from .doubles import detector_spec, embedder_spec
from .networks import write_arcface, write_scrfd

# scikit-image has renamed a method that InsightFace calls.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def insightface() -> Any:
    reason = "the reference is missing: pip install --no-deps insightface==2.1"
    return pytest.importorskip("insightface.model_zoo", reason=reason)


def picture(width: int, height: int) -> Array:
    noise = np.random.default_rng(width).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def rows(boxes: Array, scores: Array, landmarks: Array) -> Array:
    return np.concatenate([boxes, scores[:, None], landmarks.reshape(-1, 10)], axis=1)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    ("width", "height", "long_side"), [(1280, 720, 640), (360, 640, 640), (640, 480, 320), (160, 96, 320)]
)
def test_scrfd_finds_what_insightface_finds(
    insightface: Any, tmp_path: Path, batched: bool, width: int, height: int, long_side: int
) -> None:
    path = write_scrfd(tmp_path / "scrfd.onnx", batched=batched)
    image = picture(width, height)
    detector = Detector(
        OnnxRuntimeEngine(path),
        detector_spec("scrfd", colour="rgb", mean=(127.5, 127.5, 127.5), std=128.0),
        long_side=long_side,
        close_up_size=0,
        score_threshold=0.5,
        nms_iou=0.4,
        min_face_px=0,
    )
    reference = insightface.SCRFD(str(path))
    reference.prepare(-1, nms_thresh=0.4, det_thresh=0.5)
    (letterbox,) = detector.letterboxes(width, height)
    found, landmarks = reference.detect(image, input_size=(letterbox.net_width, letterbox.net_height))
    boxes = found[:, :4].clip(0, [width, height, width, height])
    seen = (boxes[:, 2:].round(2) > boxes[:, :2].round(2)).all(axis=1)
    assert 10 < seen.sum() < 2000
    expected = rows(boxes[seen], found[seen, 4], landmarks[seen])

    (faces,) = detector.detect([image])
    ours = rows(faces.boxes, faces.scores, faces.landmarks)
    assert ours.shape == expected.shape
    # The nearest box, since rounding may have changed the order of equal scores.
    nearest = np.abs(ours[:, None, :4] - expected[None, :, :4]).max(axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(len(expected)))
    difference = np.abs(ours - expected[nearest])
    # What rounding takes away, and a little for single precision.
    assert difference[:, 4].max() <= 0.00006
    assert difference.max() <= 0.0055


def test_scrfd_without_landmarks_is_refused(tmp_path: Path) -> None:
    engine = OnnxRuntimeEngine(write_scrfd(tmp_path / "scrfd.onnx", batched=True, landmarks=False))
    with pytest.raises(ModelError, match=r"no landmarks.*_kps"):
        Detector(
            engine,
            detector_spec("scrfd"),
            long_side=0,
            close_up_size=0,
            score_threshold=None,
            nms_iou=0.3,
            min_face_px=0,
        )


def test_chips_are_those_of_norm_crop(insightface: Any) -> None:
    from insightface.utils import face_align

    random = np.random.default_rng(3)
    image = picture(640, 480)
    upright = face_align.arcface_dst
    landmarks = []
    for _ in range(40):
        angle, scale = random.uniform(-3, 3), random.uniform(0.1, 4)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        landmarks.append(upright @ turn + random.uniform(-50, 600, 2) + random.normal(0, 4 * scale, (5, 2)))
    points = np.array(landmarks, np.float32)
    # A mirrored face, to which a reflection would fit better.
    points[0] = upright[[1, 0, 2, 4, 3]] + 100
    chips = Aligner("arcface", 112).chips(image, points)
    for chip, one in zip(chips, points, strict=True):
        # InsightFace computes its transform in single precision; the warp goes in steps of 1/32 px, and few differ.
        different = np.abs(chip.astype(int) - face_align.norm_crop(image, one))
        assert different.max() <= 256 / 32
        assert np.count_nonzero(different) <= 0.002 * chip.size


@pytest.mark.parametrize("inside", [True, False])
def test_embeddings_are_those_of_get_feat(insightface: Any, tmp_path: Path, inside: bool) -> None:
    path = write_arcface(tmp_path / "arcface.onnx", normalised_inside=inside)
    mean, std = (0.0, 1.0) if inside else (127.5, 127.5)
    spec = embedder_spec(chip_size=112, dimension=16, mean=(mean,) * 3, std=std)
    chips = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), np.uint8)
    reference = insightface.ArcFaceONNX(str(path))
    assert reference.input_std == std
    expected = reference.get_feat(list(chips))
    np.testing.assert_allclose(
        Embedder(OnnxRuntimeEngine(path), spec, batch=5).embed(chips), expected, rtol=1e-5, atol=1e-5
    )
