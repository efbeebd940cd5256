"""Building under the double, in each generation of TensorRT."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.build import BuildOrder, build_engine, this_machine
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.precision import Calibration
from facesearch_trt.inference.profiles import Profile, detector_profiles, embedder_profiles
from tests.doubles.gpu.contract import TENSORRT_VERSIONS
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks


def order(onnx_file: Path, precision: str = "fp16", batches: tuple[int, ...] = (1, 4), **more: object) -> BuildOrder:
    return BuildOrder("small", onnx_file, precision, embedder_profiles(networks.CHIP, batches), **more)  # type: ignore[arg-type]


def noise_calibration() -> Calibration:
    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (6, 1, 3, networks.CHIP, networks.CHIP)).astype(np.float32)
    return Calibration("c0ffee" * 10, lambda: iter(pictures))


@pytest.mark.parametrize("version", TENSORRT_VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_version_builds_every_precision(tmp_path: Path, embedder: Path, version: str, precision: str) -> None:
    with installed(GpuMachine(), version) as machine:
        entry = build_engine(order(embedder, precision, calibration=noise_calibration()), tmp_path / "e", cuda_device())
        assert entry.path.is_file() and machine.calls["build"] == 1
    facts = json.loads(entry.path.with_suffix(".json").read_text())
    typed = onnx.load(str(tmp_path / "e" / "onnx" / facts["onnx"]))
    kinds = {tensor.data_type for tensor in typed.graph.initializer}
    wanted = {"fp32": onnx.TensorProto.FLOAT, "fp16": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.INT8}
    assert wanted[precision] in kinds
    assert typed.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_a_second_call_takes_what_is_there_and_force_builds_anew(
    gpu: GpuMachine, tmp_path: Path, embedder: Path
) -> None:
    first = build_engine(order(embedder), tmp_path, cuda_device())
    assert build_engine(order(embedder), tmp_path, cuda_device()) == first
    assert gpu.calls["build"] == 1
    build_engine(order(embedder), tmp_path, cuda_device(), force=True)
    assert gpu.calls["build"] == 2


def test_another_network_precision_or_batch_is_another_engine(
    one_gpu: GpuMachine, tmp_path: Path, embedder: Path
) -> None:
    orders = [order(embedder), order(embedder, "fp32"), order(embedder, batches=(8,))]
    assert len({build_engine(one, tmp_path, cuda_device()).path for one in orders}) == 3


def test_progress_is_told_where_the_version_can(gpu: GpuMachine, version: str, tmp_path: Path, embedder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    build_engine(order(embedder), tmp_path, cuda_device(), progress=lambda *one: told.append(one))
    if version.startswith("8."):
        assert not told
    else:
        assert told[0] == ("Building", 0, 2) and told[-1] == ("Building", 2, 2)


def test_a_failing_progress_report_ends_the_build_and_not_the_process(
    one_gpu: GpuMachine, tmp_path: Path, embedder: Path
) -> None:
    def failing(phase: str, done: int, steps: int) -> None:
        raise ValueError("the terminal is gone")

    with pytest.raises(EngineError, match="aborted"):
        build_engine(order(embedder), tmp_path, cuda_device(), progress=failing)


def test_timings_are_kept_and_those_of_another_gpu_are_not_used(
    tmp_path: Path, embedder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with installed(GpuMachine(), "10.3.0"):
        build_engine(order(embedder), tmp_path, cuda_device())
        (timings,) = tmp_path.glob("timings-*.cache")
        first = timings.read_bytes()
        build_engine(order(embedder, batches=(2,)), tmp_path, cuda_device())
        assert timings.read_bytes().startswith(first) and timings.read_bytes() != first
        timings.write_bytes(b"TIMINGS of another GPU")
        build_engine(order(embedder, batches=(3,)), tmp_path, cuda_device())
        assert timings.read_bytes().startswith(b"TIMINGS 10.3.0")
        timings.write_bytes(b"\0garbage")
        build_engine(order(embedder, batches=(5,)), tmp_path, cuda_device())
    assert "starting anew" in caplog.text


def test_an_operator_that_tensorrt_lacks_is_named(gpu: GpuMachine, tmp_path: Path) -> None:
    file = networks.write_unsupported(tmp_path / "det.onnx")
    with pytest.raises(EngineError, match=r"node \d+ the_determinant \(Det\): No importer registered for op: Det"):
        build_engine(order(file), tmp_path, cuda_device())
    assert not list(tmp_path.glob("*.engine"))


def test_a_file_that_is_no_network(one_gpu: GpuMachine, tmp_path: Path) -> None:
    file = tmp_path / "text.onnx"
    file.write_text("this is no network")
    with pytest.raises(EngineError, match=r"text\.onnx: cannot read the network"):
        build_engine(order(file), tmp_path, cuda_device())
    with pytest.raises(EngineError, match="cannot read the network"):
        build_engine(order(tmp_path / "missing.onnx"), tmp_path, cuda_device())


def test_shapes_that_the_network_does_not_take(gpu: GpuMachine, tmp_path: Path, embedder: Path) -> None:
    wrong = (Profile((1, 3, 24, 24), (1, 3, 24, 24), (1, 3, 48, 48)),)
    with pytest.raises(EngineError, match="does not fit the network's"):
        build_engine(BuildOrder("small", embedder, "fp32", wrong), tmp_path, cuda_device())


def test_too_little_memory_offers_a_smaller_batch(tmp_path: Path, version: str) -> None:
    file = networks.write_centerface(tmp_path / "detector.onnx")
    wanted = BuildOrder("small", file, "fp16", detector_profiles([8], (640, 384), 1280, 32))
    with installed(GpuMachine(memory_bytes=512 << 20), version) as machine:
        with pytest.raises(EngineError, match="not enough GPU memory") as caught:
            build_engine(wanted, tmp_path, cuda_device())
        assert "--batch 4 --workspace-mib 256" in str(caught.value)
        assert "512.0 MiB" not in str(caught.value.asked) and "bytes" in str(caught.value.asked)
        assert "of 0.50 GiB" in str(caught.value.found)
        assert machine.used_bytes == 0


def test_a_driver_too_old_for_tensorrt(tmp_path: Path, embedder: Path, version: str) -> None:
    with (
        installed(GpuMachine(driver_version=11040), version),
        pytest.raises(EngineError, match=r"driver for CUDA 11\.4: CUDA initialization failure with error: 35"),
    ):
        build_engine(order(embedder), tmp_path, cuda_device())


def test_no_gpu(tmp_path: Path, embedder: Path) -> None:
    with (
        installed(GpuMachine(driver_version=0), "10.3.0"),
        pytest.raises(EngineError, match=r"no CUDA-capable device.*--backend onnxruntime"),
    ):
        cuda_device()


def test_a_tensorrt_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with installed(GpuMachine(), "8.6.0"):
        monkeypatch.setattr(sys.modules["tensorrt"], "__version__", "8.5.2")
        with pytest.raises(EngineError, match=r"8\.6 or newer; there is 8\.5\.2.*JetPack 6"):
            this_machine(cuda_device())


def test_int8_without_pictures(one_gpu: GpuMachine, tmp_path: Path, embedder: Path) -> None:
    with pytest.raises(EngineError, match="--calibrate ROOT"):
        build_engine(order(embedder, "int8"), tmp_path, cuda_device())


def test_of_two_processes_one_builds_and_the_other_waits_for_the_result(tmp_path: Path, embedder: Path) -> None:
    directory, held = tmp_path / "engines", tmp_path / "hold"
    held.touch()
    command = [sys.executable, "-m", "tests.inference.build_process", str(embedder), str(directory), str(held)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        deadline = time.monotonic() + 60
        # One is inside the build, the other says that it waits.
        while not list(tmp_path.glob("building-*")) or not list(tmp_path.glob("started-*.waits")):
            assert time.monotonic() < deadline, [process.communicate(timeout=1) for process in processes]
            time.sleep(0.02)
        assert not list(directory.glob("*.engine"))
        held.unlink()
        results = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    built = sorted(json.loads(out)["builds"] for out, _ in results)
    assert built == [0, 1], results
    assert len({json.loads(out)["sha256"] for out, _ in results}) == 1
    assert len(list(directory.glob("*.engine"))) == 1 and not list(directory.glob(".tmp-*"))


def test_a_killed_build_blocks_nobody(tmp_path: Path, embedder: Path) -> None:
    directory, held = tmp_path / "engines", tmp_path / "hold"
    held.touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.inference.build_process", str(embedder), str(directory), str(held)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("building-*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    with installed(GpuMachine(), "10.3.0") as machine:
        build_engine(order(embedder), directory, cuda_device())
        assert machine.calls["build"] == 1
