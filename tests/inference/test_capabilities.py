"""What is said of GPU, runtimes and engines on machines of several kinds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from facesearch_trt.inference.build import BuildOrder, build_engine
from facesearch_trt.inference.capabilities import engine_capabilities, gpu_capabilities, runtime_capabilities
from facesearch_trt.inference.choose import NetworkOrder
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.profiles import embedder_profiles
from facesearch_trt.types import Capability
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks


def named(found: list[Capability]) -> dict[str, Capability]:
    return {one.name: one for one in found}


@pytest.fixture
def order(embedder: Path) -> NetworkOrder:
    return NetworkOrder("small", embedder, embedder, embedder_profiles(networks.CHIP, {1, 4}))


def test_the_gpu_and_what_reaches_it(one_gpu: GpuMachine, tmp_path: Path) -> None:
    found = named(gpu_capabilities())
    assert found["GPU 0"].found == (
        "NVIDIA Double 3000, compute capability 8.6, 4.00 GiB of which 4.00 GiB are free; in use"
    )
    assert found["NVIDIA driver"].found == "for CUDA 12.4"
    runtimes = named(runtime_capabilities(tmp_path))
    assert runtimes["TensorRT"].found == "10.3.0"
    assert runtimes["ONNX Runtime"].ready and runtimes["CPUExecutionProvider"].ready
    assert not runtimes["ONNX Runtime"].found.startswith("0")
    assert not one_gpu.context_stack


def test_kernels_are_ready_to_compile_or_compiled(
    one_gpu: GpuMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = named(runtime_capabilities(tmp_path))["CUDA kernels"]
    assert not missing.ready and "cuda-nvcc" in missing.remedy
    (tmp_path / "nvcc").write_text("#!/bin/sh\n")
    (tmp_path / "nvcc").chmod(0o755)
    assert f"compiled on first use by {tmp_path}/nvcc" in named(runtime_capabilities(tmp_path))["CUDA kernels"].found


@pytest.mark.parametrize(
    ("machine", "said"), [(GpuMachine(driver_version=0), "no CUDA-capable device"), (None, "pycuda is not installed")]
)
def test_without_a_gpu(machine: GpuMachine | None, said: str, tmp_path: Path, order: NetworkOrder) -> None:
    if machine is None:
        if "pycuda" in sys.modules:
            pytest.skip("this machine has pycuda")
        (one,) = gpu_capabilities()
        assert engine_capabilities(tmp_path, [order]) == []
    else:
        with installed(machine, "10.3.0"):
            (one,) = gpu_capabilities()
            assert engine_capabilities(tmp_path, [order]) == []
    assert not one.ready and said in one.found and one.remedy


def test_engines_by_precision_and_whether_they_fit(tmp_path: Path, order: NetworkOrder) -> None:
    with installed(GpuMachine(), "10.3.0"):
        build_engine(BuildOrder(order.model, order.onnx_for_tensorrt, "fp16", order.profiles), tmp_path, cuda_device())
        found = named(engine_capabilities(tmp_path, [order]))
        assert found["small fp16"].ready and "batch 4" in found["small fp16"].found
        assert not found["small fp32"].ready and "--precision fp32" in found["small fp32"].remedy
        assert "other engines" not in "".join(found)
        (engine,) = tmp_path.glob("*.engine")
        whole = engine.read_bytes()
        engine.write_bytes(whole[:100])
        cut = named(engine_capabilities(tmp_path, [order]))["small fp16"]
        assert not cut.ready and "truncated" in cut.found and "--force" in cut.remedy
        engine.write_bytes(whole)
    with installed(GpuMachine(name="NVIDIA T4", compute_capability=(7, 5)), "10.3.0"):
        found = named(engine_capabilities(tmp_path, [order]))
        assert not found["small fp16"].ready
        assert "GPU NVIDIA T4" in found["small fp16"].found and "NVIDIA Double 3000" in found["small fp16"].found
        assert found["1 other engines"].found == "for NVIDIA Double 3000 with TensorRT 10.3.0"
