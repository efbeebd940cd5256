"""Which backend runs the networks, in which precision, and why; and the way to a network that is ready."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackendError, EngineError
from .build import this_machine
from .cache import EngineKey, find
from .cpu_int8 import offered_int8
from .device import cuda_device
from .engine import Engine
from .files import file_sha256
from .onnxruntime import OnnxRuntimeEngine
from .profiles import Profile
from .tensorrt import open_engine, tensorrt_problem

__all__ = ["Backend", "NetworkOrder", "choose_backend", "engines_directory", "open_network"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkOrder:
    """A network that is wanted."""

    model: str
    """Name in the catalogue."""
    onnx: Path
    """The float32 network for ONNX Runtime."""
    onnx_for_tensorrt: Path
    """The float32 network that engines are built from; for some models another file."""
    profiles: tuple[Profile, ...]
    """The shapes that a TensorRT engine has to take."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What was chosen."""

    name: str
    """ "tensorrt" or "onnxruntime"."""
    precision: str
    """ "fp32", "fp16" or "int8"."""
    why: str
    """One sentence for people."""


def engines_directory(wanted: str | None, home: Path) -> Path:
    """Return where engines are: where the user says, in a checkout's ``engines/``, else in the program's cache
    ``home``."""
    if wanted:
        return Path(wanted).expanduser()
    checkout = Path(__file__).parents[2]
    return (checkout if (checkout / "build_engines.py").is_file() else home) / "engines"


def choose_backend(
    wanted: str, precision: str, directory: Path, orders: Callable[[], Sequence[NetworkOrder]]
) -> Backend:
    """Return the backend for some networks.

    Parameters
    ----------
    wanted: "tensorrt" or "onnxruntime", which have to be usable then, or "auto": TensorRT where there is a GPU and
        every network's engine, else ONNX Runtime.
    precision: "auto" takes fp16 on TensorRT and fp32 on ONNX Runtime.
    directory: of the engines.
    orders: gives the networks; called only where engines are looked for.

    Raises EngineError where TensorRT was asked for and a GPU or an engine is missing, and BackendError where a
    precision was asked for that the backend does not offer.
    """
    if wanted == "onnxruntime":
        return _on_cpu(precision, "as asked")
    problem = tensorrt_problem()
    if wanted == "auto" and problem is not None:
        return _on_cpu(precision, f"no GPU with TensorRT: {problem}")
    if problem is not None:
        raise EngineError(f"TensorRT cannot be used: {problem}")
    chosen = Backend("tensorrt", "fp16" if precision == "auto" else precision, "as asked")
    try:
        machine = this_machine(cuda_device())
        for order in orders():
            find(
                directory,
                EngineKey(order.model, file_sha256(order.onnx_for_tensorrt), chosen.precision, order.profiles, machine),
            )
    except EngineError as error:
        if wanted != "auto":
            raise
        _log.warning("ONNX Runtime is used although there is a GPU: %s", error)
        return _on_cpu(precision, f"there is a GPU, but: {error}")
    if wanted == "auto":
        return Backend(
            chosen.name, chosen.precision, f"there is {machine.gpu} with TensorRT {machine.tensorrt} and its engines"
        )
    return chosen


def open_network(order: NetworkOrder, backend: Backend, directory: Path) -> Engine:
    """Return the network ready to run; close it by leaving its context.

    With int8 on ONNX Runtime a network that was measured to gain nothing by it runs in float32, and a warning says so.

    Raises EngineError where it cannot be loaded, or int8 was never measured for it.
    """
    if backend.name == "tensorrt":
        return open_engine(
            order.model, order.onnx_for_tensorrt, directory, precision=backend.precision, profiles=order.profiles
        )
    quantised = offered_int8(directory, order.model, order.onnx) if backend.precision == "int8" else None
    return OnnxRuntimeEngine(quantised or order.onnx, threads=1)


def _on_cpu(precision: str, why: str) -> Backend:
    if precision == "fp16":
        raise BackendError(
            "ONNX Runtime on the CPU has no fp16", asked=precision, found="fp32, int8", remedy="Use --precision fp32."
        )
    return Backend("onnxruntime", "fp32" if precision == "auto" else precision, why)
