"""The double of the GPU in each generation of TensorRT, and the rule for tests that want a real one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch_trt.inference.tensorrt import tensorrt_problem
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks

GENERATIONS = ("8.6.0", "10.3.0", "11.4.0.106")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none, or fail where there should be one."""
    if item.get_closest_marker("gpu") is None:
        return
    problem = tensorrt_problem()
    if problem is None:
        return
    if os.environ.get("FACESEARCH_REQUIRE_GPU") == "1":
        pytest.fail(f"FACESEARCH_REQUIRE_GPU=1, but: {problem}")
    pytest.skip(f"needs a GPU with TensorRT: {problem}")


@pytest.fixture(params=GENERATIONS)
def version(request: pytest.FixtureRequest) -> str:
    """A TensorRT version of each generation."""
    return str(request.param)


@pytest.fixture
def gpu(version: str) -> Iterator[GpuMachine]:
    """The double of a GPU with TensorRT; fails the test that leaves anything on it."""
    with installed(GpuMachine(), version) as machine:
        yield machine


@pytest.fixture
def one_gpu() -> Iterator[GpuMachine]:
    """The double with one version, for tests to which the version does not matter."""
    with installed(GpuMachine(), "10.3.0") as machine:
        yield machine


@pytest.fixture
def embedder(tmp_path: Path) -> Path:
    """A small embedder as ONNX."""
    return networks.write_embedder(tmp_path / "embedder.onnx")


@pytest.fixture
def compiler() -> str:
    """Path of g++, which the double runs CUDA kernels with."""
    found = shutil.which("g++")
    if found is None:
        pytest.skip("no g++ to compile the kernels for the CPU with: apt-get install g++")
    return found
