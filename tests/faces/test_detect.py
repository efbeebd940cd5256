from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from facesearch_trt.errors import ModelError, OptionError
from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.detect import Detector, detect
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.types import Array, DetectorSpec, Frame

from .doubles import UPRIGHT, YUNET_OUTPUTS, Double, detector_spec, face_at, tensor, yunet_answer

AMPLE = 1 << 30
"""Bytes that no test's pictures take."""


def detector_of(engine: Any, spec: DetectorSpec | None = None, **options: Any) -> Detector:
    settings = {"long_side": 64, "close_up_size": 0, "score_threshold": None, "nms_iou": 0.3, "min_face_px": 0.0}
    return Detector(engine, spec or detector_spec(), **(settings | options))


def nothing() -> Double:
    return Double(yunet_answer([]), YUNET_OUTPUTS)


@pytest.mark.parametrize(
    ("colour", "mean", "std", "expected"),
    [
        # The picture's first pixel is blue 10, green 20, red 30; the second 40, 50, 60; black follows.
        ("bgr", (0, 0, 0), 1, [[10, 40, 0], [20, 50, 0], [30, 60, 0]]),
        ("rgb", (0, 0, 0), 1, [[30, 60, 0], [20, 50, 0], [10, 40, 0]]),
        ("rgb", (1, 2, 3), 2, [[14.5, 29.5, -0.5], [9, 24, -1], [3.5, 18.5, -1.5]]),
        ("bgr", (1, 2, 3), 2, [[4.5, 19.5, -0.5], [9, 24, -1], [13.5, 28.5, -1.5]]),
    ],
)
def test_what_the_network_is_fed(colour: str, mean: tuple[float, ...], std: float, expected: list[list[float]]) -> None:
    """Golden: channel order, normalisation and padding. Accuracy would not show a swapped order."""
    engine = nothing()
    spec = detector_spec(colour=colour, mean=tuple(map(float, mean)), std=float(std))
    image = np.zeros((32, 64, 3), np.uint8)
    image[0, :2] = [[10, 20, 30], [40, 50, 60]]
    detector_of(engine, spec).detect([image])
    (planes,) = engine.fed
    assert planes.shape == (1, 3, 32, 64)
    np.testing.assert_array_equal(planes[0, :, 0, :3], np.array(expected, np.float32))


def test_padding_is_black_before_it_is_normalised() -> None:
    engine = nothing()
    detector_of(engine, detector_spec(colour="rgb", mean=(10.0, 20.0, 30.0), std=10.0)).detect(
        [np.full((20, 64, 3), 40, np.uint8)]
    )
    (planes,) = engine.fed
    np.testing.assert_array_equal(planes[0, :, 19, 63], [3, 2, 1])
    np.testing.assert_array_equal(
        planes[0, :, 20:, :].reshape(3, -1).T, np.tile(np.float32([-1, -2, -3]), (12 * 64, 1))
    )


def test_a_batch_is_one_call_and_each_frame_gets_its_own_faces() -> None:
    """The double's faces lie where each frame is bright."""

    def answer(planes: Array) -> dict[str, Array]:
        parts = []
        for one in planes:
            rows, columns = np.nonzero(one[0] > 100)
            x, y = float(columns.min()), float(rows.min())
            parts.append(yunet_answer([face_at(x, y, x + 20, y + 20)])(one[None]))
        return {name: np.concatenate([part[name] for part in parts]) for name in YUNET_OUTPUTS}

    images = []
    for x in (8, 40, 60):
        image = np.zeros((64, 128, 3), np.uint8)
        image[10:30, x : x + 20] = 200
        images.append(image)
    engine = Double(answer, YUNET_OUTPUTS)
    found = detector_of(engine, long_side=128).detect(images)
    assert [one.shape for one in engine.fed] == [(3, 3, 64, 128)]
    assert [faces.boxes[0, 0].round() for faces in found] == [8, 40, 60]


def test_read_only_pictures_are_taken() -> None:
    image = np.zeros((48, 100, 3), np.uint8)
    image.flags.writeable = False
    frame = Frame(0, 0.0, 100, 48, image)
    engine = Double(yunet_answer([face_at(5, 5, 40, 30)]), YUNET_OUTPUTS)
    with ThreadPoolExecutor(1) as pool:
        (found,) = detect([frame], detector_of(engine), Aligner("arcface", 112), pool, ahead=1, ahead_bytes=AMPLE)
    assert len(found.faces) == 1


def test_the_specs_threshold_holds_unless_another_is_asked_for() -> None:
    engine = Double(yunet_answer([face_at(5, 5, 40, 30, 0.7)]), YUNET_OUTPUTS)
    image = np.zeros((64, 64, 3), np.uint8)
    assert len(detector_of(engine, detector_spec(score_threshold=0.6)).detect([image])[0]) == 1
    assert len(detector_of(engine, detector_spec(score_threshold=0.8)).detect([image])[0]) == 0
    assert len(detector_of(engine, detector_spec(score_threshold=0.8), score_threshold=0.6).detect([image])[0]) == 1
    assert len(detector_of(engine, detector_spec(score_threshold=0.8), score_threshold=0.0).detect([image])[0]) > 1


def test_the_second_look_is_at_its_own_size() -> None:
    engine = nothing()
    detector_of(engine, long_side=128, close_up_size=64).detect([np.zeros((64, 128, 3), np.uint8)])
    assert [one.shape for one in engine.fed] == [(1, 3, 64, 128), (1, 3, 32, 64)]


def test_a_fixed_input_is_filled_and_another_size_refused() -> None:
    engine = Double(yunet_answer([face_at(10, 5, 60, 45)]), YUNET_OUTPUTS, input_shape=(1, 3, 64, 96), max_batch=1)
    detector = detector_of(engine, long_side=0)
    (faces,) = detector.detect([np.zeros((128, 160, 3), np.uint8)])
    np.testing.assert_allclose(faces.boxes, [[20, 10, 120, 90]], atol=0.01)
    assert detector_of(engine, long_side=96).max_batch == 1
    for wrong in ({"long_side": 640}, {"long_side": 0, "close_up_size": 32}):
        with pytest.raises(OptionError, match="96x64"):
            detector_of(engine, **wrong)


@pytest.mark.parametrize("shape", [(None, 1, None, None), (None, 3, None), (8, 3, None, None)])
def test_a_network_of_another_kind_is_refused(shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ModelError, match="double"):
        detector_of(Double(yunet_answer([]), YUNET_OUTPUTS, input_shape=shape))


def test_an_scrfd_without_a_batch_dimension_takes_one_picture_at_a_time() -> None:
    heads = (("s", 1), ("b", 4), ("p", 10))
    outputs = {f"{name}{i}": tensor(f"{name}{i}", None, values) for name, values in heads for i in range(3)}
    assert detector_of(Double(lambda _: {}, outputs), detector_spec("scrfd")).max_batch == 1
    assert detector_of(nothing()).max_batch > 1


def numbered(sizes: list[tuple[int, int]]) -> Iterator[Frame]:
    for number, (width, height) in enumerate(sizes):
        image = np.full((height, width, 3), number % 250, np.uint8)
        yield Frame(number, number / 25, width, height, image)


@pytest.mark.parametrize(("batch", "calls"), [(1, 10), (4, 4), (100, 3)])
def test_frames_of_one_size_that_follow_each_other_share_a_call(batch: int, calls: int) -> None:
    engine = nothing()
    sizes = [(64, 32)] * 6 + [(32, 64)] * 3 + [(64, 32)]
    with ThreadPoolExecutor(2) as pool:
        found = list(
            detect(
                numbered(sizes),
                detector_of(engine),
                Aligner("arcface", 112),
                pool,
                ahead=3,
                ahead_bytes=AMPLE,
                batch=batch,
            )
        )
    assert [frame.frame_num for frame in found] == list(range(10))
    assert len(engine.fed) == calls
    assert sorted(int(planes[i, 0, 0, 0]) for planes in engine.fed for i in range(len(planes))) == list(range(10))


def test_a_batch_is_never_larger_than_the_engine_takes() -> None:
    engine = Double(yunet_answer([]), YUNET_OUTPUTS, max_batch=2)
    with ThreadPoolExecutor(1) as pool:
        list(
            detect(
                numbered([(64, 32)] * 5),
                detector_of(engine),
                Aligner("arcface", 112),
                pool,
                ahead=1,
                ahead_bytes=AMPLE,
                batch=8,
            )
        )
    assert [len(planes) for planes in engine.fed] == [2, 2, 1]


def test_frames_come_in_order_with_all_that_belongs_to_their_faces() -> None:
    score, box, landmarks = face_at(10, 8, 50, 48)
    inner = yunet_answer([(score, box, landmarks)])

    def answer(planes: Array) -> dict[str, Array]:
        # The later frame is ready sooner.
        time.sleep(0.02 if int(planes[0, 0, 0, 0]) % 2 == 0 else 0)
        return inner(planes)

    with ThreadPoolExecutor(4) as pool:
        frames = list(
            detect(
                numbered([(64, 64)] * 8),
                detector_of(Double(answer, YUNET_OUTPUTS)),
                Aligner("dlib", 150),
                pool,
                ahead=4,
                ahead_bytes=AMPLE,
            )
        )
    assert [frame.frame_num for frame in frames] == list(range(8))
    for frame in frames:
        assert frame.image is not None
        faces = frame.faces
        np.testing.assert_allclose(faces.boxes, [box], atol=0.01)
        np.testing.assert_allclose(faces.landmarks[0], box[:2] + UPRIGHT * 40, atol=0.01)
        assert faces.chips is not None
        assert faces.chips.shape == (1, 150, 150, 3)
        # The middle of the chip shows the frame's own grey.
        assert faces.chips[0, 75, 75].tolist() == [frame.frame_num] * 3
        assert faces.quality is not None
        assert faces.quality[0, 0] == 40


def test_frames_are_read_no_further_ahead_than_asked() -> None:
    read = []

    def source() -> Iterator[Frame]:
        for frame in numbered([(64, 32)] * 40):
            read.append(frame.frame_num)
            yield frame

    with ThreadPoolExecutor(2) as pool:
        stage = detect(source(), detector_of(nothing()), Aligner("arcface", 112), pool, ahead=5, ahead_bytes=AMPLE)
        for taken, _ in zip(range(10), stage, strict=False):
            assert len(read) <= taken + 5
        stage.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("batch", "ahead", "pictures", "most"),
    # Frames are counted, not batches; pictures that are too large leave one batch in work.
    [(1, 5, 100, 5), (2, 6, 100, 6), (2, 100, 7, 6), (4, 100, 7, 4), (4, 100, 1, 4), (1, 100, 1, 1)],
)
def test_frames_in_work_are_bounded_by_number_and_by_bytes(batch: int, ahead: int, pictures: int, most: int) -> None:
    read = []

    def source() -> Iterator[Frame]:
        for frame in numbered([(64, 32)] * 40):
            read.append(frame.frame_num)
            yield frame

    detector, aligner, ahead_bytes = detector_of(nothing()), Aligner("arcface", 112), pictures * 64 * 32 * 3
    with ThreadPoolExecutor(2) as pool:
        stage = detect(source(), detector, aligner, pool, ahead=ahead, ahead_bytes=ahead_bytes, batch=batch)
        assert next(stage).frame_num == 0
        assert len(read) == most
        assert [frame.frame_num for frame in stage] == list(range(1, 40))


def test_a_detector_serves_many_threads_at_once() -> None:
    entered = threading.Barrier(3, timeout=20)

    def answer(planes: Array) -> dict[str, Array]:
        entered.wait()
        return yunet_answer([face_at(4, 4, 30, 30)])(planes)

    with ThreadPoolExecutor(3) as pool:
        found = list(
            detect(
                numbered([(64, 32)] * 6),
                detector_of(Double(answer, YUNET_OUTPUTS)),
                Aligner("arcface", 112),
                pool,
                ahead=3,
                ahead_bytes=AMPLE,
            )
        )
    assert [len(frame.faces) for frame in found] == [1] * 6


def test_an_error_in_a_frame_reaches_the_caller() -> None:
    def answer(planes: Array) -> dict[str, Array]:
        raise ModelError("broken")

    with ThreadPoolExecutor(1) as pool, pytest.raises(ModelError, match="broken"):
        list(
            detect(
                numbered([(64, 32)] * 3),
                detector_of(Double(answer, YUNET_OUTPUTS)),
                Aligner("arcface", 112),
                pool,
                ahead=2,
                ahead_bytes=AMPLE,
            )
        )


def collage(width: int, height: int) -> Array:
    """Return the astronaut's picture several times at several sizes."""
    face = np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut()[:220, 120:340, ::-1])
    image = np.full((height, width, 3), 90, np.uint8)
    x = 0
    for side in (220, 130, 90, 60, 40):
        image[10 : 10 + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        x += side + 8
    return image


@pytest.mark.parametrize(("width", "height"), [(608, 256), (640, 360)])
def test_yunet_gives_what_opencvs_own_class_gives(tmp_path: Path, shared_models: Path, width: int, height: int) -> None:
    model = shared_models / "yunet_n.onnx"
    image = collage(width, height)
    # OpenCV 4 takes only networks of a fixed size, and pads to it as we do.
    network = onnx.load(model)
    for dimension, size in zip(
        network.graph.input[0].type.tensor_type.shape.dim, (1, 3, -(-height // 32) * 32, width), strict=True
    ):
        dimension.dim_value = size
    onnx.save(network, tmp_path / "fixed.onnx")
    reference = cv2.FaceDetectorYN.create(str(tmp_path / "fixed.onnx"), "", (width, height), 0.6, 0.3, 5000)
    _, expected = reference.detect(image)
    expected = expected[np.argsort(expected[:, 0] + expected[:, 2] / 2)]
    with OnnxRuntimeEngine(model) as engine:
        (faces,) = detector_of(engine, long_side=width, score_threshold=0.6).detect([image])
    assert len(faces) == len(expected) >= 4
    boxes = np.concatenate([expected[:, :2], expected[:, :2] + expected[:, 2:4]], axis=1).clip(0, [width, height] * 2)
    # OpenCV calls the eye first that is the right one to the face, and left in the picture: the same order.
    np.testing.assert_allclose(faces.boxes, boxes, atol=0.02)
    np.testing.assert_allclose(faces.landmarks.reshape(-1, 10), expected[:, 4:14], atol=0.02)
    np.testing.assert_allclose(faces.scores, expected[:, 14], atol=1e-4)
    eyes_left, eyes_right, noses = faces.landmarks[:, 0], faces.landmarks[:, 1], faces.landmarks[:, 2]
    assert (eyes_left[:, 0] < eyes_right[:, 0]).all()
    assert (noses[:, 1] > eyes_left[:, 1]).all()
