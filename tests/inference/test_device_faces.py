"""The way from frames on the device to embeddings, against the CPU's way, with the kernels' own source run by the double."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.decode import Look
from facesearch_trt.faces.detect import Detector
from facesearch_trt.faces.letterbox import Letterbox
from facesearch_trt.faces.network import fill_planes
from facesearch_trt.inference import device_faces
from facesearch_trt.inference.build import BuildOrder, build_engine
from facesearch_trt.inference.device import CudaDevice, cuda_device
from facesearch_trt.inference.device_faces import DeviceFaces
from facesearch_trt.inference.device_frames import DeviceFrame, HostFrame
from facesearch_trt.inference.device_memory import DeviceBuffer
from facesearch_trt.inference.heads import head_groups
from facesearch_trt.inference.kernels import Pixels, load_kernels
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.profiles import detector_profiles, embedder_profiles
from facesearch_trt.inference.tensorrt import TensorRTEngine, open_engine
from facesearch_trt.types import Array, DetectorSpec, FaceBatch
from tests.doubles.gpu.machine import GpuMachine
from tests.faces.networks import write_scrfd
from tests.inference.nv12 import bgr_from_nv12

from . import networks

DETECTORS: dict[str, Callable[[Path], Path]] = {
    "centerface": networks.write_centerface,
    "yunet": networks.write_yunet,
    "scrfd": lambda path: write_scrfd(path, batched=True),
}
MEAN, STD = (100.0, 110.0, 120.0), 64.0


def picture(width: int, height: int, seed: int) -> Array:
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


class Memory:
    """Puts pictures into device memory in the ways of decoders."""

    def __init__(self, device: CudaDevice, machine: GpuMachine) -> None:
        self.device, self.machine = device, machine
        self.buffers: list[DeviceBuffer] = []

    def put(self, rows: Array, margin: int = 64) -> tuple[int, int]:
        height, width = rows.shape[0], rows[0].size
        with self.device.active():
            buffer = self.device.allocate(height * (width + margin), "a frame")
        self.buffers.append(buffer)
        view = self.machine.device_bytes(buffer.pointer, buffer.nbytes).reshape(height, width + margin)
        view[:, :width] = rows.reshape(height, width)
        return buffer.pointer, width + margin

    def bgr(self, image: Array) -> DeviceFrame:
        pointer, pitch = self.put(image)
        return DeviceFrame("bgr", image.shape[1], image.shape[0], (pointer,), (pitch,))

    def nv12(self, image: Array) -> tuple[DeviceFrame, Array]:
        """Return the frame and what it shows once colours are halved."""
        height, width = image.shape[:2]
        planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
        luma = planes[:height]
        chroma = np.ascontiguousarray(planes[height:].reshape(2, height // 2, width // 2).transpose(1, 2, 0))
        (y, y_pitch), (uv, uv_pitch) = self.put(luma), self.put(chroma)
        return DeviceFrame("nv12", width, height, (y, uv), (y_pitch, uv_pitch)), bgr_from_nv12(luma, chroma)

    def close(self) -> None:
        for buffer in self.buffers:
            buffer.close()


class Ways:
    """The same networks, decoder and template on both ways."""

    def __init__(
        self,
        stack: ExitStack,
        machine: GpuMachine,
        folder: Path,
        kind: Literal["centerface", "yunet", "scrfd"],
        close_up: int = 0,
    ) -> None:
        device = cuda_device()
        files = DETECTORS[kind](folder / f"{kind}.onnx"), networks.write_embedder(folder / "embedder.onnx")
        profiles = detector_profiles([1, 3], (96, 64), 160, 32), embedder_profiles(networks.CHIP, [2, 8])
        engines = []
        for file, shapes in zip(files, profiles, strict=True):
            build_engine(BuildOrder(file.stem, file, "fp32", shapes), folder / "e", device)
            engines.append(
                stack.enter_context(open_engine(file.stem, file, folder / "e", precision="fp32", profiles=shapes))
            )
        spec = DetectorSpec(kind, files[0], kind, "rgb", MEAN, STD, 32, 0.5)
        options: dict[str, Any] = {
            "long_side": 96,
            "close_up_size": close_up,
            "score_threshold": None,
            "nms_iou": 0.3,
            "min_face_px": 4.0,
        }
        self.detector = Detector(stack.enter_context(OnnxRuntimeEngine(files[0])), spec, **options)
        self.embedder = stack.enter_context(OnnxRuntimeEngine(files[1]))
        self.aligner = Aligner("dlib", networks.CHIP)
        self.engines: tuple[TensorRTEngine, TensorRTEngine] = (engines[0], engines[1])
        with device.active():
            kernels = load_kernels(device, folder / "e")
            self.memory = Memory(device, machine)
            stack.callback(self._free, device)
        read = self.detector.faces_from_outputs

        def faces_of(looks: Sequence[tuple[Mapping[str, Array], int, Letterbox]], width: int, height: int) -> FaceBatch:
            return read([Look(*look) for look in looks], width, height)

        self.on_device = DeviceFaces(
            *self.engines,
            kernels,
            self.detector.letterboxes,
            faces_of,
            self.aligner.transforms,
            head_groups(kind, list(self.engines[0].outputs)),
            read.score_threshold,
            Pixels("rgb", MEAN, STD),
            Pixels("bgr", MEAN, STD),
            networks.CHIP,
        )

    def _free(self, device: CudaDevice) -> None:
        with device.active():
            self.memory.close()

    def embed(self, chips: Array) -> Array:
        """Embed on the CPU."""
        planes = np.empty((len(chips), 3, networks.CHIP, networks.CHIP), np.float32)
        for one, chip in zip(planes, chips, strict=True):
            fill_planes(one, chip, "bgr", MEAN, STD)
        return self.embedder.infer({"input": planes})["embedding"]

    def compare(self, got: FaceBatch, image: Array) -> int:
        """Hold what was found on the device against what the CPU finds, and return the number of faces."""
        (wanted,) = self.detector.detect([image])
        # One grey level in the detector's input moves these steep networks' boxes by so much.
        np.testing.assert_allclose(got.boxes, wanted.boxes, atol=0.5)
        np.testing.assert_allclose(got.scores, wanted.scores, atol=0.002)
        np.testing.assert_allclose(got.landmarks, wanted.landmarks, atol=0.5)
        assert got.chips is not None and got.embeddings is not None
        assert np.abs(got.chips.astype(int) - self.aligner.chips(image, got.landmarks)).max(initial=0) <= 1
        if len(got):
            np.testing.assert_allclose(got.embeddings, self.embed(got.chips), atol=1e-4)
        return len(got)


@pytest.fixture
def ways(compiler: str, one_gpu: GpuMachine, tmp_path: Path) -> Iterator[Callable[..., Ways]]:
    with ExitStack() as stack:
        yield lambda kind, **more: Ways(stack, one_gpu, tmp_path, kind, **more)


@pytest.mark.parametrize("kind", list(DETECTORS))
def test_a_batch_of_frames_of_several_sizes_and_layouts(ways: Callable[..., Ways], kind: str) -> None:
    both = ways(kind)
    # 96x64 inputs for three of them, another size for the fourth, more frames than one batch holds.
    images = [picture(96, 64, 1), picture(192, 128, 2), picture(150, 100, 3), picture(64, 96, 4), picture(90, 60, 5)]
    nv12, as_nv12 = both.memory.nv12(images[1])
    frames = [
        both.memory.bgr(images[0]),
        nv12,
        both.memory.bgr(images[2]),
        both.memory.bgr(images[3]),
        both.memory.bgr(images[4]),
    ]
    images[1] = as_nv12
    found = both.on_device(frames)
    counts = [both.compare(got, image) for got, image in zip(found, images, strict=True)]
    assert sum(counts) > 8 and len(found) == 5, counts


def test_all_generations_give_the_same(gpu: GpuMachine, compiler: str, tmp_path: Path) -> None:
    image = picture(96, 64, 1)
    with ExitStack() as stack:
        both = Ways(stack, gpu, tmp_path, "centerface")
        assert both.compare(both.on_device([both.memory.bgr(image)])[0], image) > 0


def test_two_looks_are_joined_in_their_order(ways: Callable[..., Ways]) -> None:
    both = ways("centerface", close_up=64)
    images = [picture(192, 128, 2), picture(64, 96, 4)]
    for got, image in zip(both.on_device([both.memory.bgr(image) for image in images]), images, strict=True):
        both.compare(got, image)


def test_no_frame_and_no_face(ways: Callable[..., Ways]) -> None:
    both = ways("centerface")
    assert both.on_device([]) == []
    (got,) = both.on_device([both.memory.bgr(np.zeros((64, 96, 3), np.uint8))])
    assert len(got) == 0
    assert got.chips is not None and got.chips.shape == (0, 24, 24, 3)
    assert got.embeddings is not None and got.embeddings.shape == (0, 8)


@pytest.mark.parametrize(("first", "capacity"), [(1, 4096), (1, 1)])
def test_more_candidates_than_expected(
    ways: Callable[..., Ways], monkeypatch: pytest.MonkeyPatch, first: int, capacity: int
) -> None:
    """They come in a second copy, or, beyond the room for them, the whole heads come."""
    monkeypatch.setattr(device_faces, "_FIRST", first)
    monkeypatch.setattr(device_faces, "_CAPACITY", capacity)
    both = ways("centerface")
    images = [picture(96, 64, 1), picture(96, 64, 7)]
    found = both.on_device([both.memory.bgr(image) for image in images])
    assert sum(both.compare(got, image) for got, image in zip(found, images, strict=True)) > 4


def test_only_little_leaves_the_device(ways: Callable[..., Ways], one_gpu: GpuMachine) -> None:
    both = ways("centerface")
    copied: list[int] = []
    downloads = device_faces.ExecutionSlot.fetch

    def counted(slot: Any, names: Any) -> Any:
        copied.extend(int(np.prod(slot.shapes[name])) for name in names)
        return downloads(slot, names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_faces.ExecutionSlot, "fetch", counted)
        (got,) = both.on_device([both.memory.bgr(picture(96, 64, 1))])
    # Embeddings only: neither the heads nor the network's input.
    assert sum(copied) == len(got) * networks.DIMENSION


def test_from_several_threads(ways: Callable[..., Ways]) -> None:
    both = ways("yunet")
    images = [picture(96, 64, seed) for seed in range(6)]
    frames = [[both.memory.bgr(image)] for image in images]
    with ThreadPoolExecutor(4) as pool:
        for (got,), image in zip(pool.map(both.on_device, frames), images, strict=True):
            both.compare(got, image)


def test_frames_from_the_host(ways: Callable[..., Ways]) -> None:
    both = ways("centerface")
    device = cuda_device()
    with device.active():
        stream = device.stream()
        host = HostFrame(device, stream)
        for size in ((96, 64), (192, 128), (48, 32)):
            image = picture(*size, 3)
            both.compare(both.on_device([host.upload(image)])[0], image)
        host.close()
        stream.close()
