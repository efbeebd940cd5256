"""The device interface: one context per process, never left current, memory freed where pycuda can free it."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.device import CudaDevice, cuda_device, gib
from facesearch_trt.inference.device_frames import DeviceFrame
from facesearch_trt.inference.device_memory import DeviceArray
from facesearch_trt.inference.tensorrt import tensorrt_problem
from tests.doubles.gpu.contract import Violation
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine


def test_one_device_for_all_threads(one_gpu: GpuMachine) -> None:
    found: list[CudaDevice] = []
    threads = [threading.Thread(target=lambda: found.append(cuda_device())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(map(id, found))) == 1


def test_what_the_gpu_is(one_gpu: GpuMachine) -> None:
    device = cuda_device()
    assert (device.name, device.compute_capability, device.driver_version) == ("NVIDIA Double 3000", "8.6", "12.4")
    assert device.attribute("MULTIPROCESSOR_COUNT") == 10
    with pytest.raises(EngineError, match="asked for GPU 1; there is 1 GPUs"):
        cuda_device(1)


def test_the_context_is_popped_also_after_errors(one_gpu: GpuMachine) -> None:
    device = cuda_device()
    with pytest.raises(ValueError, match="inside"), device.active(), device.active():
        assert len(one_gpu.context_stack) == 2
        raise ValueError("inside")
    assert not one_gpu.context_stack


def test_work_outside_the_context_is_an_error(one_gpu: GpuMachine) -> None:
    device = cuda_device()
    with pytest.raises(EngineError, match="no currently active context"):
        device.allocate(10, "test")
    with pytest.raises(EngineError, match="stream"):
        device.stream()


def test_memory_goes_there_and_back(one_gpu: GpuMachine) -> None:
    device = cuda_device()
    values = np.arange(100, dtype=np.float32).reshape(4, 25)
    with device.active():
        stream, buffer = device.stream(), device.allocate(400, "test")
        sent, got = device.pinned(400), device.pinned(400)
        sent.view((4, 25), np.float32)[...] = values
        stream.upload(buffer.pointer, sent.view((4, 25), np.float32))
        stream.fill_zero(buffer.pointer, 40)
        stream.download(got.view((4, 25), np.float32), buffer.pointer)
        # Nothing has happened yet, as on a real device.
        assert not (got.view((4, 25), np.float32) == values).any()
        stream.synchronize()
        result = got.view((4, 25), np.float32).copy()
        for one in (buffer, sent, got, stream, buffer, sent):
            one.close()
    assert not result.ravel()[:10].any()
    np.testing.assert_array_equal(result.ravel()[10:], values.ravel()[10:])
    with pytest.raises(EngineError, match="closed"):
        sent.view((1,), np.uint8)


def test_running_out_of_memory_tells_what_was_asked(one_gpu: GpuMachine) -> None:
    device = cuda_device()
    with device.active(), pytest.raises(EngineError) as caught:
        device.allocate(5 << 30, "a batch of 64 frames", "Use --detect-batch 32.")
    assert "asked for 5.00 GiB for a batch of 64 frames; there is 4.00 GiB free of 4.00 GiB" in str(caught.value)
    assert str(caught.value).endswith("Use --detect-batch 32.")


def test_the_double_finds_leaks_and_frees_without_context(one_gpu: GpuMachine) -> None:
    device = cuda_device()
    with device.active():
        buffer = device.allocate(10, "test")
    with pytest.raises(Violation, match=r"not released.*device memory"):
        one_gpu.check_clean()
    with pytest.raises(Violation, match="without the context"):
        buffer.close()
    with device.active():
        buffer.close()


def test_machines_without_the_libraries() -> None:
    """Outside the double: this interpreter has no pycuda, or no driver, or all of it."""
    program = "from facesearch_trt.inference.tensorrt import tensorrt_problem; print(tensorrt_problem())"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "\n" not in result.stdout.strip()


def test_a_machine_with_everything_has_no_problem(one_gpu: GpuMachine) -> None:
    assert tensorrt_problem() is None


def test_a_gpu_without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    with installed(GpuMachine(), "10.3.0"):
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        assert "TensorRT's Python module cannot be loaded" in str(tensorrt_problem())


@pytest.mark.parametrize(("nbytes", "text"), [(12, "12 bytes"), (5 << 20, "5.0 MiB"), (3 << 30, "3.00 GiB")])
def test_sizes_for_people(nbytes: int, text: str) -> None:
    assert gib(nbytes) == text


def test_sizes_of_arrays() -> None:
    assert DeviceArray(0, (2, 3), "float32").nbytes == 24


@pytest.mark.parametrize(
    ("layout", "planes", "pitches"),
    [("bgr", (1,), (29,)), ("nv12", (1,), (10,)), ("bgr", (1, 2), (40, 40)), ("nv12", (1, 2), (10, 9))],
)
def test_frames_that_cannot_be(layout: str, planes: tuple[int, ...], pitches: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="no such picture"):
        DeviceFrame(layout, 10, 10, planes, pitches)  # type: ignore[arg-type]
