"""On a real GPU: engines of every precision, the device stages against the CPU, memory, and speed of nothing.

Skipped without one; with FACESEARCH_REQUIRE_GPU=1 that is a failure. `scripts/gpu_check.sh` runs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.letterbox import detector_input_size, letterbox_for
from facesearch_trt.faces.network import fill_planes
from facesearch_trt.inference.build import BuildOrder, build_engine
from facesearch_trt.inference.device import CudaDevice, cuda_device
from facesearch_trt.inference.device_faces import inverse_transforms
from facesearch_trt.inference.device_frames import DeviceFrame, frame_table
from facesearch_trt.inference.device_memory import DeviceArray
from facesearch_trt.inference.kernels import FACE_DTYPE, LOOK_DTYPE, Pixels, load_kernels
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.precision import Calibration
from facesearch_trt.inference.profiles import detector_profiles, embedder_profiles
from facesearch_trt.inference.tensorrt import open_engine
from facesearch_trt.inference.verify import selftest_picture
from facesearch_trt.types import Array
from tests.inference.nv12 import bgr_from_nv12

from . import networks

pytestmark = pytest.mark.gpu

PIXELS = Pixels("rgb", (100.0, 110.0, 120.0), 64.0)


class Scratch:
    """Moves arrays to the device and back."""

    def __init__(self, device: CudaDevice, stack: ExitStack) -> None:
        self.device, self.stack = device, stack
        self.stream = device.stream()
        stack.callback(self.stream.close)

    def put(self, array: Array) -> DeviceArray:
        buffer, host = self.device.allocate(array.nbytes, "a test"), self.device.pinned(array.nbytes)
        self.stack.callback(buffer.close)
        self.stack.callback(host.close)
        view = host.view((array.nbytes,), np.uint8)
        view[...] = np.frombuffer(array.tobytes(), np.uint8)
        self.stream.upload(buffer.pointer, view)
        self.stream.synchronize()
        return DeviceArray(buffer.pointer, array.shape, "uint8")

    def get(self, pointer: int, shape: tuple[int, ...], dtype: Any) -> Array:
        host = self.device.pinned(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        view = host.view(shape, dtype)
        self.stream.download(view, pointer)
        self.stream.synchronize()
        result = view.copy()
        host.close()
        return result


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    device = cuda_device()
    with device.active(), ExitStack() as stack:
        yield Scratch(device, stack)


def chips(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0, 255, (count, 3, networks.CHIP, networks.CHIP)).astype(np.float32)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("fp16", 0.999), ("int8", 0.98)])
def test_engines_of_every_precision(tmp_path: Path, embedder: Path, precision: str, least: float) -> None:
    profiles = embedder_profiles(networks.CHIP, [1, 8])
    calibration = Calibration("test", lambda: iter(np.split(chips(16, 3), 16)))
    build_engine(BuildOrder("small", embedder, precision, profiles, calibration), tmp_path, cuda_device())
    with (
        OnnxRuntimeEngine(embedder) as reference,
        open_engine("small", embedder, tmp_path, precision=precision, profiles=profiles) as engine,
    ):
        for count in (1, 8, 8, 8, 3, 1, 1):
            a, b = (one.infer({"input": chips(count, count)})["embedding"] for one in (reference, engine))
            cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            assert cosines.min() >= least


def test_a_detector_of_many_sizes_from_many_threads(tmp_path: Path) -> None:
    file = networks.write_yunet(tmp_path / "yunet.onnx")
    profiles = detector_profiles([1, 4], (96, 64), 128, 32)
    build_engine(BuildOrder("yunet", file, "fp32", profiles), tmp_path, cuda_device())
    random = np.random.default_rng(0)
    shapes = [(1, 3, 64, 96), (4, 3, 96, 64), (2, 3, 128, 128), (4, 3, 64, 96)] * 8
    feeds = [{"input": random.uniform(-1, 1, shape).astype(np.float32)} for shape in shapes]
    with (
        OnnxRuntimeEngine(file) as reference,
        open_engine("yunet", file, tmp_path, precision="fp32", profiles=profiles) as engine,
    ):
        expected = [reference.infer(one) for one in feeds]
        with ThreadPoolExecutor(4) as pool:
            for got, wanted in zip(pool.map(engine.infer, feeds), expected, strict=True):
                for name, array in wanted.items():
                    np.testing.assert_allclose(got[name], array, atol=2e-3)


def test_memory_comes_back(tmp_path: Path, embedder: Path) -> None:
    profiles = embedder_profiles(networks.CHIP, [64])
    device = cuda_device()
    build_engine(BuildOrder("small", embedder, "fp16", profiles), tmp_path, device)
    free = []
    for _ in range(6):
        with open_engine("small", embedder, tmp_path, precision="fp16", profiles=profiles) as engine:
            for _ in range(3):
                engine.infer({"input": chips(64)})
        with device.active():
            free.append(device.free_bytes())
    # The first rounds load the library's own kernels, which stay.
    assert free[-1] >= free[2] - (1 << 20), free


@pytest.mark.parametrize("layout", ["bgr", "nv12"])
@pytest.mark.parametrize("size", [(640, 360), (1920, 1080), (334, 218)])
def test_letterbox_and_chips_are_those_of_the_cpu(
    scratch: Scratch, tmp_path: Path, layout: Any, size: tuple[int, int]
) -> None:
    width, height = size
    random = np.random.default_rng(width)
    if layout == "nv12":
        luma = random.integers(0, 256, (height, width), dtype=np.uint8)
        chroma = random.integers(0, 256, (height // 2, width // 2, 2), dtype=np.uint8)
        planes: list[Array] = [luma, chroma]
        image = bgr_from_nv12(luma, chroma)
    else:
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        planes = [image]
    on_device = [scratch.put(plane) for plane in planes]
    frame = DeviceFrame(
        layout, width, height, tuple(one.pointer for one in on_device), tuple(plane.strides[0] for plane in planes)
    )
    kernels = load_kernels(scratch.device, tmp_path)
    frames = scratch.put(frame_table([frame]))

    look = letterbox_for(width, height, *detector_input_size(width, height, 0, 32))
    shown = look.resize(image)
    looks = np.array([(1 / look.scale, shown.shape[1], shown.shape[0], 0, 0)], LOOK_DTYPE)
    shape = (1, 3, look.net_height, look.net_width)
    target = scratch.put(np.zeros(shape, np.float32))
    kernels.letterbox(scratch.stream, frames, scratch.put(looks), DeviceArray(target.pointer, shape, "float32"), PIXELS)
    expected = np.empty(shape, np.float32)
    fill_planes(expected[0], shown, "rgb", PIXELS.mean, PIXELS.std)
    grey_levels = np.abs(scratch.get(target.pointer, shape, np.float32) - expected) * PIXELS.std
    assert grey_levels.max() <= 1.001
    assert (grey_levels > 0.5).mean() <= 0.02

    aligner = Aligner("arcface", 112)
    landmarks = (random.normal(0, 30, (5, 5, 2)) + random.uniform((0, 0), size, (5, 1, 2))).astype(np.float32)
    faces = np.zeros(5, FACE_DTYPE)
    faces["inverse"] = inverse_transforms(aligner.transforms(landmarks)).reshape(5, 6)
    cut, normalised = (
        scratch.put(np.zeros((5, 112, 112, 3), np.uint8)),
        scratch.put(np.zeros((5, 3, 112, 112), np.float32)),
    )
    kernels.warp(
        scratch.stream,
        frames,
        scratch.put(faces),
        chips=cut,
        planes=DeviceArray(normalised.pointer, (5, 3, 112, 112), "float32"),
        pixels=PIXELS,
    )
    wanted = aligner.chips(image, landmarks)
    got = scratch.get(cut.pointer, wanted.shape, np.uint8)
    assert np.abs(got.astype(int) - wanted).max() <= 1
    one = np.empty((3, 112, 112), np.float32)
    fill_planes(one, got[0], "rgb", PIXELS.mean, PIXELS.std)
    np.testing.assert_allclose(scratch.get(normalised.pointer, (5, 3, 112, 112), np.float32)[0], one, atol=1e-6)


def test_the_installed_packs_engines_agree_with_onnx_runtime() -> None:
    """The default pack as `build_engines.py` left it here, or in $FACESEARCH_ENGINES, on the bundled picture."""
    from facesearch_trt.cli.verification import verify_machine
    from facesearch_trt.config import Options

    agreements, missing = verify_machine(Options(engines=os.environ.get("FACESEARCH_ENGINES")))
    on_gpu = [one for one in agreements if one.name.startswith("TensorRT")]
    if not on_gpu:
        reason = f"no engine of the default pack is built here: run build_engines.py first ({'; '.join(missing)})"
        (pytest.fail if os.environ.get("FACESEARCH_REQUIRE_GPU") == "1" else pytest.skip)(reason)
    assert selftest_picture() is not None
    assert not [str(one) for one in on_gpu if one.shortfalls]


def test_nvdec_gives_the_frames_of_the_software_graph(tmp_path: Path) -> None:
    """Needs GStreamer with its nvcodec plugin besides; a machine of engines alone has neither."""
    from facesearch_trt.errors import BackendError
    from facesearch_trt.graph.nvcodec import NvcodecSource, check_nvcodec
    from facesearch_trt.nvcodec_tools import nvcodec_context, picture_reader
    from tests.graph.helpers import decode, made, pictures
    from tests.media import clip_of, number_of

    try:
        check_nvcodec()
    except BackendError as error:
        pytest.skip(f"no NVDEC in GStreamer here: {error}")
    path = made(tmp_path / "clip.mp4", pictures(60, (320, 240)))
    wanted, _ = decode(path)
    with ThreadPoolExecutor(2) as pool, picture_reader(None, tmp_path) as read:
        source = NvcodecSource(
            clip_of(path),
            stall_timeout_s=30,
            context=nvcodec_context(),
            read=read,
            executor=pool,
            batch=8,
            every=1,
            finds_faces=False,
        )
        with source:
            found = list(source)
    assert source.damage is None
    assert [number_of(frame.image) for frame in found] == list(range(60))
    for frame, other in zip(found, wanted, strict=True):
        assert frame.pts_s == other.pts_s
        assert np.abs(frame.image.astype(int) - other.image).max() <= 8
