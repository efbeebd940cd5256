"""The nvcodec graph on the double of its plugin: the software graph's frames, read from device memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import BackendError, DecodeError
from facesearch_trt.graph import capabilities
from facesearch_trt.graph.cuda_memory import CudaContext, cuda_library
from facesearch_trt.graph.gst import gstreamer
from facesearch_trt.graph.nvcodec import NvcodecSource, ToRead, check_nvcodec, decodes
from facesearch_trt.graph.orientation import upright
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.device_frames import picture_from_nv12
from facesearch_trt.types import Array, FaceBatch
from tests.doubles import nvcodec
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine
from tests.doubles.nvcodec import Cuda
from tests.media import clip_of, cut_short, number_of, turned

from .helpers import decode, made, pictures


@pytest.fixture(params=["1.22", "1.24"])
def cuda(request: pytest.FixtureRequest) -> Iterator[Cuda]:
    """The double of the plugin for two versions of GStreamer, on the double of the GPU."""
    with installed(GpuMachine(), "10.3.0") as machine:
        cuda_device()
        with nvcodec.installed(machine, version=request.param) as state:
            yield state


class Reader:
    """Reads pictures as the program does, without faces."""

    def __init__(self, cuda: Cuda) -> None:
        self.machine = cuda.machine
        self.groups: list[int] = []
        self.with_faces: list[bool] = []

    def __call__(self, asked: Sequence[ToRead]) -> list[tuple[Array, FaceBatch]]:
        self.groups.append(len(asked))
        self.with_faces += [one.with_faces for one in asked]
        return [(upright(self._image(one), one.orientation), FaceBatch.empty()) for one in asked]

    def _image(self, one: ToRead) -> Array:
        picture = one.picture
        rows = picture.height, (picture.height + 1) // 2
        planes = [
            self.machine.device_bytes(pointer, pitch * count).reshape(count, pitch)
            for pointer, pitch, count in zip(picture.planes, picture.pitches, rows, strict=True)
        ]
        columns = (picture.width + 1) // 2
        chroma = planes[1][:, : 2 * columns].reshape(rows[1], columns, 2)
        return picture_from_nv12(planes[0][:, : picture.width], chroma, picture.matrix, full_range=picture.full_range)


def source_of(path: Path, read: Reader, executor: ThreadPoolExecutor, **options: int) -> NvcodecSource:
    device = cuda_device()
    return NvcodecSource(
        clip_of(path),
        stall_timeout_s=30,
        context=CudaContext(device.context_handle, device.index),
        read=read,
        executor=executor,
        batch=options.get("batch", 4),
        every=options.get("every", 1),
        finds_faces=bool(options.get("finds_faces", False)),
    )


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "h264"), ("clip.mkv", "h265"), ("odd.mp4", "h264")])
def test_frames_are_those_of_the_software_graph(
    cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path, name: str, codec: str
) -> None:
    size = (130, 98) if name == "odd.mp4" else (128, 96)
    path = made(tmp_path / name, pictures(30, size), codec=codec)
    wanted, _ = decode(path)
    read = Reader(cuda)
    with source_of(path, read, executor) as source:
        found = list(source)
    assert source.damage is None and source.graph == "nvcodec"
    assert [number_of(frame.image) for frame in found] == list(range(30))
    assert [(frame.frame_num, frame.pts_s, frame.width, frame.height) for frame in found] == [
        (frame.frame_num, frame.pts_s, frame.width, frame.height) for frame in wanted
    ]
    for frame, other in zip(found, wanted, strict=True):
        assert not frame.image.flags.writeable
        # GStreamer 1.22's own conversion is a little darker than the standard.
        assert np.abs(frame.image.astype(int) - other.image).max() <= 6
    assert sorted(read.groups) == [2] + [4] * 7
    assert cuda.shared == [cuda_device().context_handle]
    assert cuda.pictures == 30


def test_few_pictures_are_held_in_device_memory(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(60))
    with source_of(path, Reader(cuda), executor) as source:
        for _ in source:
            pass
    # Two groups in work and one that is gathered, and what GStreamer decodes ahead.
    assert cuda.most_held <= 3 * 4 + 2 * 4 + 4


def test_a_turned_clip_comes_upright(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = turned(made(tmp_path / "clip.mp4", pictures(6)), tmp_path / "turned.mp4", 90)
    with source_of(path, Reader(cuda), executor) as source:
        found = list(source)
    assert (found[0].width, found[0].height) == (96, 128)
    for frame, other in zip(found, decode(path)[0], strict=True):
        assert np.abs(frame.image.astype(int) - other.image).max() <= 6


def test_faces_are_asked_for_every_nth_frame(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(8))
    read = Reader(cuda)
    with source_of(path, read, executor, every=3, finds_faces=True, batch=8) as source:
        assert source.finds_faces
        list(source)
    assert read.with_faces == [True, False, False, True, False, False, True, False]


def test_a_clip_that_breaks_off_gives_what_it_has(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = cut_short(made(tmp_path / "clip.mkv", pictures(30)), tmp_path / "cut.mkv", 0.6)
    with source_of(path, Reader(cuda), executor) as source:
        found = list(source)
    assert 5 < len(found) < 30
    assert [number_of(frame.image) for frame in found] == list(range(len(found)))
    assert source.damage is not None


def test_leaving_early_gives_everything_back(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(60))
    with source_of(path, Reader(cuda), executor) as source:
        frames = iter(source)
        next(frames)
        frames.close()


def test_a_reader_that_fails_is_told(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(10))

    def read(asked: Sequence[ToRead]) -> list[tuple[Array, FaceBatch]]:
        raise BackendError("the GPU went away")

    with source_of(path, read, executor) as source, pytest.raises(BackendError, match="went away"):
        list(source)


def test_another_vendors_decoder_is_never_taken(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    h264, vp8 = (gstreamer().Caps.from_string(media) for media in ("video/x-h264", "video/x-vp8"))
    assert decodes(h264) and not decodes(vp8)
    path = made(tmp_path / "clip.webm", pictures(5), codec="vp8")
    with (
        source_of(path, Reader(cuda), executor) as source,
        pytest.raises(DecodeError, match=r"no NVIDIA decoder for .*VP8.*--graph software"),
    ):
        list(source)
    assert cuda.pictures == 0


def test_pixels_that_are_not_square_are_refused(cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = made(tmp_path / "clip.mp4", pictures(5), pixel_aspect="4/3")
    with (
        source_of(path, Reader(cuda), executor) as source,
        pytest.raises(DecodeError, match=r"not square.*there is 4:3.*--graph software"),
    ):
        list(source)


def test_without_the_gpus_context_it_would_not_work(
    cuda: Cuda, executor: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the double notices: a pipeline that was not given the context fails."""
    path = made(tmp_path / "clip.mp4", pictures(5))
    monkeypatch.setattr(NvcodecSource, "_prepare", lambda *_: None)
    with source_of(path, Reader(cuda), executor) as source, pytest.raises(DecodeError, match="no context"):
        list(source)
    (told,) = set(cuda.violations)
    assert "GStreamer would make its own" in told
    cuda.violations.clear()


def test_the_machine_is_checked(cuda: Cuda) -> None:
    check_nvcodec()
    found = {one.name: one for one in capabilities.nvcodec_capabilities()}
    assert found["nvcodec plugin"].ready and found["nvh264dec"].ready and not found["nvvp9dec"].ready


def test_the_real_library_has_the_names_and_says_that_there_is_no_driver() -> None:
    if find_library("cuda"):
        pytest.skip("this machine has an NVIDIA driver")
    if find_library("gstcuda-1.0") is None:
        pytest.skip("no libgstcuda here: apt-get install gstreamer1.0-plugins-bad")
    with pytest.raises(BackendError, match="GStreamer finds no NVIDIA driver"):
        cuda_library()


def test_without_nvidia_it_says_so() -> None:
    if capabilities.has_element("nvh264dec"):
        pytest.skip("this machine has NVDEC")
    with pytest.raises(BackendError, match=r"no NVIDIA decoder.*facesearch doctor.*--graph software"):
        check_nvcodec()
