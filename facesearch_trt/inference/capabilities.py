"""What this machine can run networks on: its GPUs, TensorRT, its engines, ONNX Runtime."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import EngineError, FaceSearchError
from ..types import Capability
from .build import this_machine
from .cache import EngineKey, Machine, entries, find
from .choose import NetworkOrder
from .device import cuda_device, gib, gpus
from .files import file_sha256
from .kernels import kernels_ready
from .onnxruntime import onnxruntime_facts
from .precision import PRECISIONS
from .tensorrt import tensorrt_problem
from .trt_versions import import_tensorrt

__all__ = ["engine_capabilities", "gpu_capabilities", "runtime_capabilities"]


def gpu_capabilities() -> list[Capability]:
    """Return the NVIDIA GPUs and what reaches them from Python. The first GPU is started; the program uses that one."""
    try:
        found = gpus()
        device = cuda_device()
        with device.active():
            free = device.free_bytes()
    except EngineError as error:
        return [Capability("NVIDIA GPU", False, _reason(error), error.remedy or "")]
    capabilities = [
        Capability(
            f"GPU {index}",
            True,
            f"{name}, compute capability {capability}, {gib(total)}"
            + (f" of which {gib(free)} are free; in use" if index == 0 else "; not used: one GPU per process"),
        )
        for index, (name, capability, total) in enumerate(found)
    ]
    capabilities.append(Capability("NVIDIA driver", True, f"for CUDA {device.driver_version}"))
    capabilities.append(Capability("pycuda", True, _version("pycuda")))
    return capabilities


def runtime_capabilities(directory: Path) -> list[Capability]:
    """Return TensorRT, the kernels that it needs beside it, and ONNX Runtime.

    Parameters
    ----------
    directory: of the engines, where compiled kernels are kept.
    """
    found = []
    try:
        found.append(Capability("TensorRT", True, str(import_tensorrt().__version__)))
    except EngineError as error:
        found.append(Capability("TensorRT", False, _reason(error), error.remedy or ""))
    if tensorrt_problem() is None:
        found.append(_kernels(directory))
    try:
        version, providers = onnxruntime_facts()
        found.append(Capability("ONNX Runtime", True, version, needed=True))
        found += [Capability(name, True, "execution provider of ONNX Runtime") for name in providers]
    except EngineError as error:
        found.append(Capability("ONNX Runtime", False, _reason(error), error.remedy or "", needed=True))
    return found


def engine_capabilities(directory: Path, orders: Sequence[NetworkOrder]) -> list[Capability]:
    """Return for each network and precision whether its engine is here and fits this machine, and what else lies there.

    Parameters
    ----------
    directory: of the engines.
    orders: the networks; their ONNX files have to be there.
    """
    problem = tensorrt_problem()
    here = None if problem is not None else this_machine(cuda_device())
    found = []
    if here is not None:
        for order in orders:
            found += [_engine(directory, order, precision, here) for precision in PRECISIONS]
    other = [entry for entry in entries(directory) if entry.key.machine != here]
    if other:
        machines = sorted({f"{one.key.machine.gpu} with TensorRT {one.key.machine.tensorrt}" for one in other})
        found.append(
            Capability(f"{len(other)} other engines", False, f"for {'; '.join(machines)}", "They can be deleted.")
        )
    return found


def _engine(directory: Path, order: NetworkOrder, precision: str, here: Machine) -> Capability:
    name = f"{order.model} {precision}"
    try:
        key = EngineKey(order.model, file_sha256(order.onnx_for_tensorrt), precision, order.profiles, here)
        entry = find(directory, key)
        # The same check as on loading: cut or damaged files are told now.
        entry.check()
    except EngineError as error:
        return Capability(name, False, _reason(error), error.remedy or "")
    return Capability(name, True, f"batch {entry.key.max_batch}, {entry.nbytes / 1e6:.1f} MB, {entry.path.name}")


def _kernels(directory: Path) -> Capability:
    ready = kernels_ready(directory, cuda_device().compute_capability)
    compiler = shutil.which("nvcc")
    if ready is not None:
        return Capability("CUDA kernels", True, ready.name)
    if compiler is not None:
        return Capability("CUDA kernels", True, f"compiled on first use by {compiler}")
    return Capability(
        "CUDA kernels",
        False,
        "not compiled, and there is no nvcc",
        "Install the CUDA compiler (package cuda-nvcc), or put a file compiled elsewhere into the directory of engines.",
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "version unknown"


def _reason(error: FaceSearchError) -> str:
    parts = [error.what, *(f"{label} {value}" for label, value in _details(error))]
    return " ".join("; ".join(parts).split())


def _details(error: FaceSearchError) -> list[tuple[str, object]]:
    pairs = (("asked for", error.asked), ("there is", error.found))
    return [(label, value) for label, value in pairs if value is not None]
