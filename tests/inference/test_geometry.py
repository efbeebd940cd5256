"""The arithmetic of the CUDA kernels, compiled by gcc, against OpenCV: what a pixel becomes on the device and on the CPU."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.letterbox import detector_input_size, letterbox_for
from facesearch_trt.faces.network import fill_planes
from facesearch_trt.inference.device_faces import inverse_transforms
from facesearch_trt.inference.device_frames import (
    FRAME_DTYPE,
    DeviceFrame,
    frame_table,
    picture_from_nv12,
)
from facesearch_trt.types import Array
from tests.inference.nv12 import bgr_from_nv12

CUDA = Path(__file__).parents[2] / "facesearch_trt" / "inference" / "cuda"

WHOLE_PICTURES = """
#include "geometry.h"
int frame_bytes(void) { return (int)sizeof(fs_frame); }
int look_bytes(void) { return (int)sizeof(fs_look); }
int face_bytes(void) { return (int)sizeof(fs_face); }
static void put(unsigned char *out, int index, const int bgr[3]) {
    for (int channel = 0; channel < 3; ++channel) out[3 * index + channel] = (unsigned char)bgr[channel];
}
void plain(const fs_frame *frame, unsigned char *out) {
    for (int y = 0; y < frame->height; ++y)
        for (int x = 0; x < frame->width; ++x) {
            int bgr[3];
            fs_pixel(frame, x, y, bgr);
            put(out, y * frame->width + x, bgr);
        }
}
void resized(const fs_frame *frame, double step, int width, int height, unsigned char *out) {
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            int bgr[3];
            fs_resized(frame, step, x, y, bgr);
            put(out, y * width + x, bgr);
        }
}
void warped(const fs_frame *frame, const double *inverse, int size, unsigned char *out) {
    for (int y = 0; y < size; ++y)
        for (int x = 0; x < size; ++x) {
            int bgr[3];
            fs_warped(frame, inverse, x, y, bgr);
            put(out, y * size + x, bgr);
        }
}
void normalised(const unsigned char *bgr, int rgb, const float *mean, float factor, float *out) {
    int values[3] = {bgr[0], bgr[1], bgr[2]};
    for (int channel = 0; channel < 3; ++channel) out[channel] = fs_normalised(values, channel, rgb, mean, factor);
}
"""


@pytest.fixture(scope="module")
def arithmetic(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("geometry")
    (folder / "pictures.c").write_text(WHOLE_PICTURES)
    # -ffp-contract=off is nvcc's -fmad=false.
    command = [
        "gcc",
        "-std=c99",
        "-O2",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        f"-I{CUDA}",
    ]
    command += ["-o", str(folder / "pictures.so"), str(folder / "pictures.c"), "-lm"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no gcc to compile the arithmetic with: apt-get install gcc")
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(folder / "pictures.so"))


def pointer(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def in_memory(image: Array, margin: int = 0) -> tuple[Array, Array]:
    """Return a picture's description and the memory that it lies in, each row followed by ``margin`` bytes."""
    height, width, channels = image.shape
    memory = np.full((height, width * channels + margin), 77, np.uint8)
    memory[:, : width * channels] = image.reshape(height, -1)
    frame = DeviceFrame("bgr", width, height, (memory.ctypes.data,), (memory.strides[0],))
    return frame_table([frame]), memory


def difference(a: Array, b: Array) -> int:
    return int(np.abs(a.astype(int) - b).max())


def noise(width: int, height: int) -> Array:
    # Noise is the hardest picture: neighbours differ by up to 255.
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)


SIZES = [(640, 360), (1920, 1080), (333, 217), (97, 1033), (1279, 719), (16, 9), (3840, 2160), (1, 1), (2, 300)]


def test_structures_have_the_layout_that_numpy_writes(arithmetic: ctypes.CDLL) -> None:
    from facesearch_trt.inference.kernels import FACE_DTYPE, LOOK_DTYPE

    assert arithmetic.frame_bytes() == FRAME_DTYPE.itemsize
    assert arithmetic.look_bytes() == LOOK_DTYPE.itemsize
    assert arithmetic.face_bytes() == FACE_DTYPE.itemsize


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("long_side", [0, 320, 640])
def test_letterbox_is_that_of_the_cpu(arithmetic: ctypes.CDLL, size: tuple[int, int], long_side: int) -> None:
    image = noise(*size)
    look = letterbox_for(*size, *detector_input_size(*size, long_side, 32))
    expected = look.resize(image)
    table, memory = in_memory(image, margin=5)
    got = np.empty(expected.shape, np.uint8)
    arithmetic.resized(pointer(table), ctypes.c_double(1 / look.scale), got.shape[1], got.shape[0], pointer(got))
    assert difference(got, expected) <= 1
    # Enlarging, OpenCV's vector code rounds some pixels otherwise than its plain code.
    share = (got != expected).mean()
    assert share <= (0.02 if look.scale > 1 else 0.001)
    del memory


@pytest.mark.parametrize(("template", "side"), [("arcface", 112), ("dlib", 150)])
def test_chips_are_those_of_the_cpu(arithmetic: ctypes.CDLL, template: Literal["arcface", "dlib"], side: int) -> None:
    random = np.random.default_rng(side)
    image = noise(333, 217)
    table, memory = in_memory(image, margin=3)
    aligner = Aligner(template, side)
    for _ in range(60):
        # Faces of 3 to 400 px, turned any way, also beside and far outside the frame.
        size, turn = np.exp(random.uniform(np.log(3), np.log(400))), random.uniform(-np.pi, np.pi)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = (random.normal(0, size / 4, (5, 2)) @ rotation.T) + random.uniform((-100, -100), (433, 317))
        landmarks = points[None].round(2).astype(np.float32)
        expected = aligner.chips(image, landmarks)[0]
        inverse = inverse_transforms(aligner.transforms(landmarks))
        got = np.empty_like(expected)
        arithmetic.warped(pointer(table), pointer(inverse), side, pointer(got))
        assert difference(got, expected) <= 1
        assert (got != expected).mean() <= 0.001
    del memory


def test_landmarks_in_one_point_or_far_away_do_no_harm(arithmetic: ctypes.CDLL) -> None:
    image = noise(64, 48)
    table, memory = in_memory(image)
    aligner = Aligner("arcface", 112)
    for landmarks in (
        np.full((1, 5, 2), 20.0),
        np.full((1, 5, 2), 1e30),
        np.array([[[0, 0], [1e7, 0], [5e6, 5e6], [0, 1e7], [1e7, 1e7]]]),
    ):
        inverse = inverse_transforms(aligner.transforms(landmarks.astype(np.float32)))
        got = np.full((112, 112, 3), 9, np.uint8)
        arithmetic.warped(pointer(table), pointer(inverse), 112, pointer(got))
    assert not got[20:].any()
    del memory


def nv12(width: int, height: int) -> tuple[Array, Array]:
    random = np.random.default_rng(width)
    chroma = random.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 2), dtype=np.uint8)
    return random.integers(0, 256, (height, width), dtype=np.uint8), chroma


@pytest.mark.parametrize("size", [(64, 48), (33, 17), (2, 2), (1, 1)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_nv12_is_that_of_the_cpu(
    arithmetic: ctypes.CDLL, size: tuple[int, int], matrix: Literal["bt601", "bt709"], full_range: bool
) -> None:
    luma, chroma = nv12(*size)
    frame = DeviceFrame(
        "nv12", *size, (luma.ctypes.data, chroma.ctypes.data), (luma.strides[0], chroma.strides[0]), matrix, full_range
    )
    got = np.empty((*luma.shape, 3), np.uint8)
    arithmetic.plain(pointer(frame_table([frame])), pointer(got))
    np.testing.assert_array_equal(got, bgr_from_nv12(luma, chroma, matrix, full_range=full_range))


def test_the_cpus_nv12_is_opencvs() -> None:
    luma, chroma = nv12(64, 48)
    assert difference(bgr_from_nv12(luma, chroma), cv2.cvtColorTwoPlane(luma, chroma, cv2.COLOR_YUV2BGR_NV12)) <= 1


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_the_fast_way_is_the_same_to_the_bit(matrix: Literal["bt601", "bt709"], full_range: bool) -> None:
    # Every combination of Y, U and V in steps, and an odd size.
    values = np.arange(0, 256, 5, dtype=np.uint8)
    values[-1] = 255
    u, v = np.meshgrid(values, values)
    chroma = np.stack([u, v], axis=2)
    height, width = 2 * len(values) - 1, 2 * len(values) - 1
    for y in values:
        luma = np.full((height, width), y, np.uint8)
        wanted = bgr_from_nv12(luma, chroma, matrix, full_range=full_range)
        np.testing.assert_array_equal(picture_from_nv12(luma, chroma, matrix, full_range=full_range), wanted)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_grey_stays_grey_and_the_range_is_used(matrix: Literal["bt601", "bt709"]) -> None:
    luma = np.array([[16, 235], [0, 255]], np.uint8)
    grey = np.full((1, 1, 2), 128, np.uint8)
    assert bgr_from_nv12(luma, grey, matrix)[..., 0].tolist() == [[0, 255], [0, 255]]
    full = bgr_from_nv12(luma, grey, matrix, full_range=True)
    assert full[..., 2].tolist() == luma.tolist() and (full[..., :1] == full).all()


def test_bt709_colours() -> None:
    """Pure red and blue of ITU-R BT.709 in 8 bits: Y 63, Cb 102, Cr 240 and Y 32, Cb 240, Cr 118."""
    for (y, u, v), bgr in (((63, 102, 240), (0, 0, 255)), ((32, 240, 118), (255, 0, 0))):
        got = bgr_from_nv12(np.full((2, 2), y, np.uint8), np.array([[[u, v]]], np.uint8), "bt709")
        assert np.abs(got[0, 0].astype(int) - bgr).max() <= 2


@pytest.mark.parametrize(
    ("colour", "mean", "std"),
    [("rgb", (0.0, 0.0, 0.0), 1.0), ("bgr", (104.0, 117.0, 123.0), 1.0), ("rgb", (127.5,) * 3, 128.0)],
)
def test_normalisation_is_that_of_the_cpu_to_the_bit(
    arithmetic: ctypes.CDLL, colour: Literal["rgb", "bgr"], mean: tuple[float, float, float], std: float
) -> None:
    pixels = noise(16, 16)
    expected = np.empty((3, 16, 16), np.float32)
    fill_planes(expected, pixels, colour, mean, std)
    got = np.empty(3, np.float32)
    means = np.array(mean, np.float32)
    for y, x in ((0, 0), (3, 7), (15, 15)):
        arithmetic.normalised(
            pointer(np.ascontiguousarray(pixels[y, x])),
            colour == "rgb",
            pointer(means),
            ctypes.c_float(np.float32(1 / std)),
            pointer(got),
        )
        np.testing.assert_array_equal(got, expected[:, y, x])
