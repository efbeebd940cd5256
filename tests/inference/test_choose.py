"""Which backend is taken, and what is said of it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import BackendError, EngineError
from facesearch_trt.inference.build import BuildOrder, build_engine
from facesearch_trt.inference.choose import NetworkOrder, choose_backend, engines_directory, open_network
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.profiles import embedder_profiles
from facesearch_trt.inference.tensorrt import TensorRTEngine
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks

PROFILES = embedder_profiles(networks.CHIP, [4])


@pytest.fixture
def order(embedder: Path) -> NetworkOrder:
    return NetworkOrder("small", embedder, embedder, PROFILES)


def never() -> list[NetworkOrder]:
    raise AssertionError("the networks were prepared although nobody looks for engines")


def build(order: NetworkOrder, directory: Path, precision: str) -> None:
    build_engine(BuildOrder(order.model, order.onnx_for_tensorrt, precision, order.profiles), directory, cuda_device())


def test_with_engines_auto_takes_the_gpu_in_fp16(one_gpu: GpuMachine, tmp_path: Path, order: NetworkOrder) -> None:
    build(order, tmp_path, "fp16")
    backend = choose_backend("auto", "auto", tmp_path, lambda: [order])
    assert (backend.name, backend.precision) == ("tensorrt", "fp16")
    assert backend.why == "there is NVIDIA Double 3000 with TensorRT 10.3.0 and its engines"
    with open_network(order, backend, tmp_path) as engine:
        assert isinstance(engine, TensorRTEngine)
        assert engine.infer({"input": np.zeros((4, 3, 24, 24), np.float32)})["embedding"].shape == (4, 8)


def test_without_engines_auto_takes_the_cpu_and_says_so(
    one_gpu: GpuMachine, tmp_path: Path, order: NetworkOrder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        backend = choose_backend("auto", "auto", tmp_path, lambda: [order])
    assert (backend.name, backend.precision) == ("onnxruntime", "fp32")
    assert "although there is a GPU" in caplog.text and "build_engines.py --models small" in caplog.text
    with open_network(order, backend, tmp_path) as engine:
        assert isinstance(engine, OnnxRuntimeEngine)


def test_engines_in_another_precision_are_no_engines(one_gpu: GpuMachine, tmp_path: Path, order: NetworkOrder) -> None:
    build(order, tmp_path, "fp16")
    with pytest.raises(EngineError, match="precision fp32; there is precision fp16"):
        choose_backend("tensorrt", "fp32", tmp_path, lambda: [order])
    assert choose_backend("tensorrt", "fp16", tmp_path, lambda: [order]).why == "as asked"


def test_without_a_gpu(tmp_path: Path) -> None:
    with installed(GpuMachine(driver_version=0), "10.3.0"):
        backend = choose_backend("auto", "auto", tmp_path, never)
        assert backend.name == "onnxruntime" and backend.why.startswith("no GPU with TensorRT: ")
        with pytest.raises(EngineError, match=r"TensorRT cannot be used: .*no CUDA-capable device"):
            choose_backend("tensorrt", "auto", tmp_path, never)


def test_the_cpu_when_asked_for(one_gpu: GpuMachine, tmp_path: Path) -> None:
    backend = choose_backend("onnxruntime", "auto", tmp_path, never)
    assert (backend.name, backend.precision, backend.why) == ("onnxruntime", "fp32", "as asked")
    with pytest.raises(BackendError, match=r"no fp16.*--precision fp32"):
        choose_backend("onnxruntime", "fp16", tmp_path, never)


def test_int8_on_the_cpu_wants_to_be_measured_first(tmp_path: Path, order: NetworkOrder) -> None:
    backend = choose_backend("onnxruntime", "int8", tmp_path, never)
    with pytest.raises(EngineError, match="no int8 network for this CPU"):
        open_network(order, backend, tmp_path)


def test_where_engines_are(tmp_path: Path) -> None:
    assert engines_directory("~/mine", tmp_path) == Path.home() / "mine"
    # This is a checkout.
    assert engines_directory(None, tmp_path) == Path(__file__).parents[2] / "engines"
