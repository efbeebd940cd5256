from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch_trt.errors import ModelError
from facesearch_trt.models.dlib_dat import DatNetwork, read_dat
from facesearch_trt.models.dlib_onnx import onnx_from_dat

from .dat import integer, network, tensor, text

WHOLE = network()


def read(tmp_path: Path, data: bytes) -> DatNetwork:
    path = tmp_path / "net.dat"
    path.write_bytes(data)
    return read_dat(path)


def test_records_of_a_small_network(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert (found.mean, found.rows, found.columns) == ((1.0, 1.0, 1.0), 150, 150)
    assert [layer.kind for layer in found.layers] == ["con", "affine", "relu", "max_pool", "fc"]
    con, affine, _, pool, fc = found.layers
    np.testing.assert_array_equal(con.arrays[0], np.array([[1, 2, 3], [4, 5, 6]], np.float32)[:, :, None, None])
    np.testing.assert_array_equal(con.arrays[1], np.array([0.5, -0.5], np.float32))
    assert con.settings == (2, 1, 1, 1, 1, 0, 0)
    np.testing.assert_array_equal(affine.arrays, [[1, 2], [3, 4]])
    assert pool.settings == (3, 3, 2, 2, 0, 0)
    np.testing.assert_array_equal(fc.arrays[0], [[1, 2], [3, 4]])


@pytest.mark.parametrize("size", range(0, len(WHOLE), 7))
def test_truncated(tmp_path: Path, size: int) -> None:
    try:
        found = read(tmp_path, WHOLE[:size])
    except ModelError as error:
        assert "not a dlib face network" in str(error)
    else:
        # Cut exactly after a record the file is a shorter network, which the converter refuses.
        assert len(found.layers) < 5


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_is_a_model_error(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.dat"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        onnx_from_dat(path)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(WHOLE)))
def test_garbage_is_a_model_error(tmp_path_factory: pytest.TempPathFactory, garbage: bytes, keep: int) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.dat"
    path.write_bytes(WHOLE[:keep] + garbage)
    with pytest.raises(ModelError):
        onnx_from_dat(path)


@pytest.mark.parametrize("shape", [(2**62, 1, 1, 1), (2**20, 2**20, 2**20, 1), (1, 1, 0, 2**60), (-1, 1, 1, 1)])
def test_huge_tensor_is_refused_before_it_is_allocated(tmp_path: Path, shape: tuple[int, int, int, int]) -> None:
    start = WHOLE.index(text("con_4"))
    data = WHOLE[:start] + text("con_4") + tensor(shape, []) + WHOLE[start:]
    tracemalloc.start()
    with pytest.raises(ModelError):
        read(tmp_path, data)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_endless_versions_end(tmp_path: Path) -> None:
    start = WHOLE.index(integer(3) + text("input_rgb_image_sized"))
    with pytest.raises(ModelError):
        read(tmp_path, WHOLE[:start] + integer(2) * 100_000)


def test_other_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.dat"
    path.write_bytes(WHOLE)
    with pytest.raises(ModelError, match="not dlib's face recognition network"):
        onnx_from_dat(path)
    with pytest.raises(ModelError, match="cannot read"):
        onnx_from_dat(tmp_path / "absent.dat")


@pytest.fixture(scope="module")
def converted(dlib_weights: Path) -> onnxruntime.InferenceSession:
    model = onnx_from_dat(dlib_weights)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def chips() -> list[np.ndarray]:
    """The astronaut's face at several places and sizes, and pictures at the ends of the range."""
    picture = pytest.importorskip("skimage.data").astronaut()
    cuts = [(170, 60, 120), (160, 50, 140), (180, 80, 90), (150, 40, 160), (190, 70, 100), (0, 0, 512)]
    faces = [cv2.resize(picture[y : y + side, x : x + side], (150, 150)) for x, y, side in cuts]
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    return [*faces, noise, np.zeros((150, 150, 3), np.uint8), np.full((150, 150, 3), 255, np.uint8)]


def test_agrees_with_dlib(dlib_weights: Path, converted: onnxruntime.InferenceSession) -> None:
    dlib = pytest.importorskip("dlib")
    reference = dlib.face_recognition_model_v1(str(dlib_weights))
    batch = np.stack(chips())
    found = converted.run(None, {"input": batch.transpose(0, 3, 1, 2).astype(np.float32)})[0]
    wanted = np.array([reference.compute_face_descriptor(chip) for chip in batch])
    assert np.abs(found - wanted).max() < 1e-5
    # Different faces differ by far more than that, so agreement says something.
    assert np.abs(wanted[0] - wanted[6]).max() > 0.01


def test_form_of_the_converted_network(converted: onnxruntime.InferenceSession) -> None:
    (given_,), (got,) = converted.get_inputs(), converted.get_outputs()
    assert (given_.name, given_.shape, given_.type) == ("input", ["batch", 3, 150, 150], "tensor(float)")
    assert (got.name, got.shape, got.type) == ("embedding", ["batch", 128], "tensor(float)")
    model = converted.run(None, {"input": np.zeros((3, 3, 150, 150), np.float32)})[0]
    assert model.shape == (3, 128)


def test_weights_of_another_shape_are_refused(tmp_path: Path, dlib_weights: Path) -> None:
    data = dlib_weights.read_bytes()
    # The first convolution's padding: two ones instead of two zeros, behind its 7 by 7 and stride 2.
    settings_ = b"".join(integer(number) for number in (32, 7, 7, 2, 2, 0, 0))
    padded = settings_[:-4] + integer(1) * 2
    path = tmp_path / "padded.dat"
    path.write_bytes(data.replace(settings_, padded, 1))
    with pytest.raises(ModelError, match="settings"):
        onnx_from_dat(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="left"):
        onnx_from_dat(path)
