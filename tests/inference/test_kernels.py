"""The CUDA kernels: nvcc takes them for every architecture, and run by the double they do what the CPU does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.kernels import kernel_source, load_kernels
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.kernels_on_cpu import KERNEL, compile_for_cpu
from tests.doubles.gpu.machine import GpuMachine

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90")


def test_nvcc_compiles_them_for_every_architecture(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on the PATH; the CUDA toolkit brings it")
    (tmp_path / "kernels.cu").write_text(kernel_source())
    targets = [f"-gencode=arch=compute_{arch[3:]},code={arch}" for arch in ARCHITECTURES]
    command = [
        nvcc,
        "--threads",
        "2",
        "--fatbin",
        "-fmad=false",
        "-Werror",
        "all-warnings",
        *targets,
        "-o",
        str(tmp_path / "k.fatbin"),
    ]
    result = subprocess.run([*command, str(tmp_path / "kernels.cu")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "k.fatbin").stat().st_size > 10_000


def test_the_double_runs_the_very_source(compiler: str) -> None:
    assert {match[1] for match in KERNEL.finditer(kernel_source())} == {"letterbox", "warp_faces", "select_cells"}
    assert compile_for_cpu(kernel_source()).is_file()


def test_they_are_compiled_once_and_kept(compiler: str, one_gpu: GpuMachine, tmp_path: Path) -> None:
    device = cuda_device()
    with device.active():
        load_kernels(device, tmp_path / "engines")
        load_kernels(device, tmp_path / "engines")
    assert one_gpu.calls["compile"] == 1
    (kept,) = (tmp_path / "engines").iterdir()
    assert kept.name.startswith("kernels-") and kept.name.endswith("-sm86.cubin")


def test_without_nvcc_the_error_names_the_file_to_bring(compiler: str, tmp_path: Path) -> None:
    with installed(GpuMachine(), "10.3.0") as machine:
        device = cuda_device()
        with device.active():
            load_kernels(device, tmp_path)
        (kept,) = tmp_path.iterdir()
        code = kept.read_bytes()
        kept.unlink()
        assert machine.calls["compile"] == 1
    with installed(GpuMachine(), "10.3.0", has_nvcc=False):
        device = cuda_device()
        with device.active():
            with pytest.raises(EngineError, match=r"cuda-nvcc.*kernels-[0-9a-f]{12}\.fatbin") as caught:
                load_kernels(device, tmp_path)
            brought = Path(str(caught.value.remedy).rstrip(".").split()[-1])
            brought.write_bytes(code)
            load_kernels(device, tmp_path)


def test_kernels_of_another_gpu_are_refused(compiler: str, tmp_path: Path) -> None:
    with installed(GpuMachine(compute_capability=(7, 5)), "10.3.0"):
        device = cuda_device()
        with device.active():
            load_kernels(device, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.rename(kept.with_name(kept.name.replace("sm75", "sm86")))
    with installed(GpuMachine(), "10.3.0"):
        device = cuda_device()
        with device.active(), pytest.raises(EngineError, match="no kernel image"):
            load_kernels(device, tmp_path)


def test_arguments_of_a_wrong_type_are_caught(compiler: str, one_gpu: GpuMachine, tmp_path: Path) -> None:
    device = cuda_device()
    with device.active():
        kernels = load_kernels(device, tmp_path)
        stream = device.stream()
        with pytest.raises(TypeError, match="argument 3"):
            kernels._letterbox(
                *[np.uint64(1)] * 3,
                5,
                *[np.int32(1)] * 2,
                *[np.float32(1)] * 4,
                block=(1, 1, 1),
                grid=(1, 1, 1),
                stream=stream.native,
            )
        stream.close()
