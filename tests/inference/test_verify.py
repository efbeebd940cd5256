"""Agreement of backends: what is reported, and from where on it counts as too little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.detect import Detector
from facesearch_trt.faces.embed import Embedder
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.precision import typed_onnx
from facesearch_trt.inference.verify import (
    Subject,
    compare_detectors,
    compare_embedders,
    selftest_picture,
    verify_backends,
)
from facesearch_trt.types import Array, DetectorSpec, EmbedderSpec, FaceBatch


def faces(*boxes: tuple[float, float, float, float], shift: float = 0.0) -> FaceBatch:
    array = np.array(boxes, np.float32).reshape(-1, 4) + np.float32(shift)
    landmarks = np.repeat(array[:, None, :2], 5, axis=1)
    return FaceBatch(array, np.full(len(array), 0.9, np.float32), landmarks)


PICTURE = np.zeros((100, 100, 3), np.uint8)
TWO = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0)


def test_the_same_faces_in_another_order_agree() -> None:
    result = compare_detectors(lambda _: faces(*TWO), lambda _: faces(*TWO[::-1]), [PICTURE, PICTURE])
    assert (result.reference_faces, result.faces, result.extra_faces) == (4, 4, 0)
    assert result.iou == 1.0 and result.landmark_px == 0.0 and not result.shortfalls("fp32")


def test_shifted_boxes_show_in_iou_and_landmarks() -> None:
    result = compare_detectors(lambda _: faces(*TWO), lambda _: faces(*TWO, shift=1.0), [PICTURE])
    assert result.iou == pytest.approx(19 * 19 / (2 * 400 - 19 * 19))
    assert result.landmark_px == pytest.approx(np.sqrt(2))
    assert result.shortfalls("int8") == [] and "below 0.95" in result.shortfalls("fp16")[0]


def test_lost_and_extra_faces_are_counted() -> None:
    lost = compare_detectors(lambda _: faces(*TWO), lambda _: faces(TWO[0]), [PICTURE])
    assert (lost.faces, lost.extra_faces) == (1, 0) and "1 of 2 faces" in lost.shortfalls("int8")[0]
    extra = compare_detectors(lambda _: faces(TWO[0]), lambda _: faces(*TWO), [PICTURE])
    assert (extra.faces, extra.extra_faces) == (1, 1) and extra.shortfalls("int8")
    none = compare_detectors(lambda _: faces(), lambda _: faces(), [PICTURE])
    assert not none.shortfalls("fp32") and none.iou == 1.0


def test_no_box_is_in_two_pairs() -> None:
    near = (12.0, 10.0, 32.0, 30.0)
    result = compare_detectors(lambda _: faces(TWO[0], near), lambda _: faces(TWO[0]), [PICTURE])
    assert (result.reference_faces, result.faces) == (2, 1)


@pytest.mark.parametrize(
    ("noise", "precision", "enough"),
    [(0.0, "fp32", True), (0.02, "fp16", True), (0.1, "fp16", False), (0.1, "int8", True), (0.5, "int8", False)],
)
def test_cosines_against_the_limits_of_the_precision(noise: float, precision: str, enough: bool) -> None:
    random = np.random.default_rng(0)
    known, off = (random.normal(size=(4, 128)).astype(np.float32) for _ in range(2))
    chips = np.zeros((4, 8, 8, 3), np.uint8)
    result = compare_embedders(lambda _: known, lambda _: known + np.float32(noise) * off, [chips, chips[:0], chips])
    assert result.faces == 8 and result.least <= result.mean
    assert (not result.shortfalls(precision)) == enough


def test_numbers_that_are_none_are_no_agreement() -> None:
    chips = np.zeros((1, 8, 8, 3), np.uint8)
    result = compare_embedders(lambda _: np.ones((1, 4)), lambda _: np.full((1, 4), np.nan), [chips])
    assert result.shortfalls("int8") == ["cosine nan is below 0.98"]


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(EngineError, match="no faces"):
        compare_embedders(lambda chips: chips, lambda chips: chips, [])
    blind = Subject("blind", "fp32", lambda _: faces(), lambda chips: chips)
    with pytest.raises(EngineError, match="blind: the reference found no face"):
        verify_backends(blind, [blind], lambda image, landmarks: image, PICTURE)


def test_real_networks_in_float16_on_the_bundled_picture(shared_models: Path, tmp_path: Path) -> None:
    """YuNet and a MobileFaceNet find and know the face of the bundled picture in float16 as in float32."""
    detector = DetectorSpec("yunet", shared_models / "yunet_n.onnx", "yunet", "bgr", (0.0, 0.0, 0.0), 1.0, 32, 0.6)
    embedder = EmbedderSpec(
        "y1",
        shared_models / "mobilefacenet_arcface_y1.onnx",
        "arcface",
        112,
        "rgb",
        (0.0, 0.0, 0.0),
        1.0,
        128,
    )

    def subject(precision: str) -> Subject:
        files = (
            spec.onnx if precision == "fp32" else typed_onnx(spec.onnx, precision, tmp_path)
            for spec in (detector, embedder)
        )
        engines = [OnnxRuntimeEngine(file) for file in files]
        found = Detector(
            engines[0], detector, long_side=0, close_up_size=0, score_threshold=None, nms_iou=0.3, min_face_px=12.0
        )
        known = Embedder(engines[1], embedder, batch=8)

        def detect(picture: Array) -> FaceBatch:
            return found.detect([picture])[0]

        return Subject(f"ONNX Runtime {precision}", precision, detect, known.embed)

    (same, halved) = verify_backends(subject("fp32"), [subject("fp32"), subject("fp16")], Aligner("arcface", 112).chips)
    assert same.boxes.reference_faces == 1 and not same.shortfalls
    assert not halved.shortfalls, str(halved)
    assert 0.999 <= halved.cosines.least < 1.0
    assert str(halved).startswith("ONNX Runtime fp16: 1/1 faces, box IoU 0.9")


def test_the_bundled_picture_is_small_and_has_its_origin_beside_it() -> None:
    from facesearch_trt.inference import verify

    picture = selftest_picture()
    assert picture.shape == (288, 288, 3) and picture.std() > 20
    beside = Path(verify.__file__).with_name("selftest.README").read_text()
    assert "NASA" in beside and "public domain" in beside
