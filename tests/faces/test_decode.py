from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from facesearch_trt.errors import ModelError
from facesearch_trt.faces.candidates import Decoder
from facesearch_trt.faces.centerface import CenterFaceDecoder
from facesearch_trt.faces.decode import DECODERS, FacesFromOutputs, Look
from facesearch_trt.faces.letterbox import Letterbox
from facesearch_trt.faces.scrfd import ScrfdDecoder
from facesearch_trt.faces.yunet import YuNetDecoder
from facesearch_trt.inference.engine import TensorSpec
from facesearch_trt.types import Array, FaceBatch

from .doubles import UPRIGHT, YUNET_OUTPUTS, face_at, tensor, yunet_answer

CENTERFACE_OUTPUTS = {
    name: tensor(name, None, channels, None, None)
    for name, channels in (("537", 1), ("538", 2), ("539", 2), ("540", 10))
}
SCRFD_OUTPUTS = {
    f"{head}{stride}": tensor(f"{head}{stride}", None, None, values)
    for head, values in (("s", 1), ("b", 4), ("p", 10))
    for stride in (8, 16, 32)
}


def random_maps(seed: int, width: int, height: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    shape = (height // 4, width // 4)
    return {
        name: random.uniform(*spread, (2, channels, *shape)).astype(np.float32)
        for name, channels, spread in (
            ("537", 1, (0, 1)),
            ("538", 2, (-1, 4)),
            ("539", 2, (0, 1)),
            ("540", 10, (-0.2, 1.2)),
        )
    }


def test_centerface_reads_the_maps_as_its_authors_do() -> None:
    """Cell by cell, with the authors' formulas, but nothing clipped."""
    outputs = random_maps(0, 96, 64)
    found = CenterFaceDecoder(CENTERFACE_OUTPUTS).decode(outputs, 1, (96, 64), 0.97)
    heat, size, offset, points = (array[1] for array in outputs.values())
    expected = []
    for row in range(16):
        for column in range(24):
            if heat[0, row, column] < 0.97:
                continue
            high, wide = (math.exp(value) * 4 for value in size[:, row, column])
            x1 = (column + offset[1, row, column] + 0.5) * 4 - wide / 2
            y1 = (row + offset[0, row, column] + 0.5) * 4 - high / 2
            landmarks = [
                (points[2 * i + 1, row, column] * wide + x1, points[2 * i, row, column] * high + y1) for i in range(5)
            ]
            expected.append(([x1, y1, x1 + wide, y1 + high], heat[0, row, column], landmarks))
    assert len(expected) >= 5
    for column, values in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(column, np.array(values), rtol=1e-5, atol=1e-4)


def encoded_scrfd(face: tuple[float, Array, Array], cell: tuple[int, int, int, int], batched: bool) -> dict[str, Array]:
    """Return outputs for 96 by 64 px with one face, at (stride, row, column, anchor)."""
    score, box, landmarks = face
    outputs = {}
    for name, spec in SCRFD_OUTPUTS.items():
        stride = int(name[1:])
        values = np.zeros((96 // stride * (64 // stride) * 2, spec.shape[2] or 0), np.float32)
        if stride == cell[0]:
            row = (cell[1] * (96 // stride) + cell[2]) * 2 + cell[3]
            anchor = np.array([cell[2], cell[1]]) * stride
            reach = {"s": [score], "b": [*(anchor - box[:2]), *(box[2:] - anchor)], "p": (landmarks - anchor).ravel()}[
                name[0]
            ]
            values[row] = np.array(reach) / (1 if name[0] == "s" else stride)
        outputs[name] = values[None] if batched else values
    return outputs


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("cell", [(8, 3, 5, 0), (8, 3, 5, 1), (16, 2, 3, 1), (32, 1, 2, 0)])
def test_scrfd_gives_back_an_encoded_face(cell: tuple[int, int, int, int], batched: bool) -> None:
    score, box, landmarks = face_at(20.5, 10.25, 60, 50)
    specs = {
        name: TensorSpec(name, spec.shape if batched else spec.shape[1:], "float32")
        for name, spec in SCRFD_OUTPUTS.items()
    }
    decoder = ScrfdDecoder(specs)
    assert decoder.batched == batched
    found = decoder.decode(encoded_scrfd((score, box, landmarks), cell, batched), 0, (96, 64), 0.5)
    np.testing.assert_allclose(found.boxes, [box], atol=1e-4)
    np.testing.assert_allclose(found.landmarks, [landmarks], atol=1e-4)
    np.testing.assert_allclose(found.scores, [score])


def test_yunet_gives_back_an_encoded_face() -> None:
    score, box, landmarks = face_at(20.5, 10.25, 60, 50)
    outputs = yunet_answer([(score, box, landmarks)])(np.zeros((1, 3, 64, 96), np.float32))
    found = YuNetDecoder(YUNET_OUTPUTS).decode(outputs, 0, (96, 64), 0.5)
    np.testing.assert_allclose(found.boxes, [box], atol=1e-4)
    np.testing.assert_allclose(found.landmarks, [landmarks], atol=1e-4)
    np.testing.assert_allclose(found.scores, [score], atol=1e-6)


def test_yunets_score_is_the_geometric_mean_of_both_heads() -> None:
    outputs = yunet_answer([face_at(8, 8, 40, 40)])(np.zeros((1, 3, 64, 64), np.float32))
    outputs["cls_8"][outputs["cls_8"] > 0] = 1.2
    outputs["obj_8"][outputs["obj_8"] > 0] = 0.25
    decoder = YuNetDecoder(YUNET_OUTPUTS)
    assert decoder.decode(outputs, 0, (64, 64), 0.5).scores.tolist() == [0.5]
    assert len(decoder.decode(outputs, 0, (64, 64), 0.5001).scores) == 0


@pytest.mark.parametrize(
    ("name", "outputs"), [("centerface", YUNET_OUTPUTS), ("yunet", SCRFD_OUTPUTS), ("scrfd", YUNET_OUTPUTS)]
)
def test_another_networks_outputs_are_refused(name: str, outputs: Mapping[str, TensorSpec]) -> None:
    with pytest.raises(ModelError, match="the network is no"):
        DECODERS[name](outputs)


def test_centerface_in_another_order_is_refused() -> None:
    with pytest.raises(ModelError):
        CenterFaceDecoder(dict(reversed(CENTERFACE_OUTPUTS.items())))


def maps_of_nothing(channels: int) -> Array:
    return np.zeros((1, channels, 16, 16), np.float32)


def rows_of_nothing(stride: int, values: int) -> Array:
    return np.zeros((1, 2 * (64 // stride) ** 2, values), np.float32)


@pytest.mark.parametrize(
    ("decoder", "empty"),
    [
        (
            CenterFaceDecoder(CENTERFACE_OUTPUTS),
            {name: maps_of_nothing(spec.shape[1] or 0) for name, spec in CENTERFACE_OUTPUTS.items()},
        ),
        (YuNetDecoder(YUNET_OUTPUTS), yunet_answer([])(np.zeros((1, 3, 64, 64), np.float32))),
        (
            ScrfdDecoder(SCRFD_OUTPUTS),
            {name: rows_of_nothing(int(name[1:]), spec.shape[2] or 0) for name, spec in SCRFD_OUTPUTS.items()},
        ),
    ],
)
def test_nothing_found(decoder: Decoder, empty: dict[str, Array]) -> None:
    found = decoder.decode(empty, 0, (64, 64), 0.5)
    assert [column.shape for column in found] == [(0, 4), (0,), (0, 5, 2)]
    assert [column.dtype for column in found] == [np.float32] * 3
    faces = FacesFromOutputs(decoder, 0.5, 0.3, 0)([Look(empty, 0, Letterbox(1, 64, 64))], 64, 64)
    assert len(faces) == 0


def read(
    faces: list[tuple[float, Array, Array]], *, scale: float = 1.0, size: tuple[int, int] = (96, 64), **options: float
) -> FaceBatch:
    outputs = yunet_answer(faces)(np.zeros((1, 3, 64, 96), np.float32))
    settings = {"score_threshold": 0.5, "nms_iou": 0.3, "min_face_px": 0.0} | options
    return FacesFromOutputs(YuNetDecoder(YUNET_OUTPUTS), **settings)(
        [Look(outputs, 0, Letterbox(scale, 96, 64))], *size
    )


def test_boxes_are_clipped_to_the_frame_last_and_landmarks_not_at_all() -> None:
    found = read([face_at(-20, -10, 30, 30), face_at(70, 40, 110, 80)])
    np.testing.assert_allclose(found.boxes, [[0, 0, 30, 30], [70, 40, 96, 64]], atol=0.01)
    np.testing.assert_allclose(found.landmarks[0], [-20, -10] + UPRIGHT * [50, 40], atol=0.01)
    np.testing.assert_allclose(found.landmarks[1], [70, 40] + UPRIGHT * 40, atol=0.01)


def test_pixels_are_those_of_the_frame() -> None:
    found = read([face_at(16, 8, 48, 40)], scale=0.5, size=(192, 128))
    np.testing.assert_allclose(found.boxes, [[32, 16, 96, 80]], atol=0.01)
    np.testing.assert_allclose(found.landmarks, [2 * (np.array([16, 8]) + UPRIGHT * 32)], atol=0.01)


def test_what_lies_in_the_padding_is_no_face() -> None:
    assert len(read([face_at(60, 40, 90, 62)], size=(96, 38))) == 0


def test_the_smallest_face_is_measured_on_its_shorter_side_in_the_frame_before_clipping() -> None:
    faces = [face_at(0, 0, 11, 30), face_at(30, 0, 42, 30), face_at(-8, 40, 5, 60)]
    assert read(faces, min_face_px=12).boxes[:, 0].tolist() == [0, 30]
    assert len(read(faces, min_face_px=12, scale=0.5, size=(192, 128))) == 3


def profile_at(x1: float, y1: float, x2: float, y2: float, score: float) -> tuple[float, Array, Array]:
    score, box, landmarks = face_at(x1, y1, x2, y2, score)
    middle = landmarks[:, 0].mean()
    landmarks[:, 0] = middle + (landmarks[:, 0] - middle) * 0.15
    landmarks[2, 0] = middle + 0.2 * (x2 - x1)
    return score, box, landmarks


def test_small_profiles_are_left_out_and_large_ones_are_not() -> None:
    """Detectors see them in heads filmed from behind."""
    assert len(read([face_at(4, 4, 34, 44, 0.6)], min_face_px=12)) == 1
    assert len(read([profile_at(4, 4, 34, 44, 0.6)], min_face_px=12)) == 0
    assert len(read([profile_at(4, 4, 34, 44, 0.6)], min_face_px=12, scale=0.25, size=(384, 256))) == 1
    assert len(read([profile_at(4, 4, 34, 44, 0.6)], min_face_px=0)) == 1


def test_faces_come_from_left_to_right() -> None:
    found = read([face_at(60, 0, 90, 30, 0.95), face_at(4, 32, 30, 60, 0.6), face_at(32, 4, 56, 30, 0.8)])
    assert found.boxes[:, 0].round().tolist() == [4, 32, 60]
    np.testing.assert_allclose(found.scores, [0.6, 0.8, 0.95])


def test_values_are_rounded_to_what_the_tables_hold() -> None:
    found = read([face_at(10.1234, 11.5678, 41.9876, 52.4321, 0.87654321)])
    assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32
    for values, digits in ((found.boxes, 2), (found.landmarks, 2), (found.scores, 4)):
        written = [f"{value:.{digits}f}" for value in values.ravel()]
        np.testing.assert_array_equal(np.array(written, np.float32), values.ravel())
    assert found.scores.tolist() == [np.float32(0.8765)]


def test_a_weaker_duplicate_goes() -> None:
    found = read([face_at(10, 10, 40, 40, 0.7), face_at(20, 10, 50, 40, 0.8)], nms_iou=0.3)
    np.testing.assert_allclose(found.scores, [0.8])
    assert len(read([face_at(10, 10, 40, 40, 0.7), face_at(20, 10, 50, 40, 0.8)], nms_iou=0.51)) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("head", ["bbox_8", "kps_8", "cls_8"])
def test_a_broken_network_gives_no_broken_faces(head: str, value: float) -> None:
    outputs = yunet_answer([face_at(8, 8, 40, 40), face_at(50, 8, 80, 40)])(np.zeros((1, 3, 64, 96), np.float32))
    broken = int(outputs["cls_8"].argmax())
    outputs[head][0, broken, -1] = value
    decode = FacesFromOutputs(YuNetDecoder(YUNET_OUTPUTS), 0.5, 0.3, 0)
    found = decode([Look(outputs, 0, Letterbox(1, 96, 64))], 96, 64)
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.landmarks).all()
    assert found.scores.max() <= 1
    assert 50 in found.boxes[:, 0].round()
    if head == "bbox_8":
        assert len(found) == 1
