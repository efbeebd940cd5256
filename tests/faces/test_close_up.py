"""Faces that fill the picture, which detectors place badly at 640 px and more; a second, small look does better."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.faces.candidates import Candidates
from facesearch_trt.faces.close_up import join_looks
from facesearch_trt.faces.detect import Detector
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.types import Array

from .doubles import detector_spec


def candidates(*boxes: tuple[float, float, float, float, float]) -> Candidates:
    table = np.array(boxes, np.float32).reshape(-1, 5)
    return Candidates(table[:, :4], table[:, 4], np.zeros((len(table), 5, 2), np.float32))


def test_a_face_too_large_for_the_normal_look_is_taken_from_the_small_one() -> None:
    parts = candidates((100, 100, 600, 500, 0.95), (150, 400, 500, 800, 0.7))
    whole = candidates((50, 50, 700, 900, 0.6))
    assert join_looks(parts, whole, 1.0, 0.3).boxes.tolist() == whole.boxes.tolist()


def test_a_face_of_middle_size_stays_as_the_normal_look_has_it() -> None:
    fine, coarse = candidates((100, 100, 300, 350, 0.6)), candidates((90, 95, 310, 365, 0.9))
    assert join_looks(fine, coarse, 1.0, 0.3).boxes.tolist() == fine.boxes.tolist()


def test_small_faces_of_the_small_look_do_not_count() -> None:
    assert len(join_looks(candidates(), candidates((0, 0, 60, 80, 0.9)), 1.0, 0.3).scores) == 0


def test_a_small_face_in_front_of_a_large_one_stays() -> None:
    front, large = (200, 200, 300, 330, 0.8), (50, 50, 700, 900, 0.6)
    found = join_looks(candidates(front), candidates(large), 1.0, 0.3)
    assert found.boxes.tolist() == [list(front[:4]), list(large[:4])]


def test_a_large_face_that_only_the_normal_look_sees_stays() -> None:
    face = candidates((50, 50, 700, 900, 0.6))
    assert join_looks(face, candidates(), 1.0, 0.3).boxes.tolist() == face.boxes.tolist()


def test_sizes_are_those_in_the_networks_input() -> None:
    """At a scale of 1/4 a face of 600 px is one of 150: the normal look's."""
    fine, coarse = candidates((100, 100, 600, 700, 0.6)), candidates((50, 50, 650, 750, 0.9))
    assert join_looks(fine, coarse, 0.25, 0.3).boxes.tolist() == fine.boxes.tolist()


def iou(a: Array, b: Array) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.maximum(high - low, 0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def test_a_portrait_that_fills_the_picture_is_found_once_and_in_place(shared_models: Path) -> None:
    image = np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:, :, ::-1])
    # The face is at x 181 to 273, y 54 to 178; here it is as high as the picture.
    scale = 1280 / 118
    matrix = np.array([[scale, 0, 360 - scale * 226], [0, scale, 640 - scale * 119]])
    portrait = cv2.warpAffine(image, matrix, (720, 1280), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    truth = np.array([0, 0, 720, 1280])
    with OnnxRuntimeEngine(shared_models / "yunet_n.onnx") as engine:
        found = {}
        for close_up_size in (0, 192):
            detector = Detector(
                engine,
                detector_spec(score_threshold=0.6),
                long_side=1280,
                close_up_size=close_up_size,
                score_threshold=None,
                nms_iou=0.3,
                min_face_px=12,
            )
            (found[close_up_size],) = detector.detect([portrait])
    assert max((iou(box, truth) for box in found[0].boxes), default=0) < 0.5
    assert len(found[192]) == 1
    assert iou(found[192].boxes[0], truth) > 0.85
