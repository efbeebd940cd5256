"""Networks on TensorRT: the runtime of machines with an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import EngineError
from ..types import Array
from .build import this_machine
from .cache import EngineKey, find, read_plan, rebuild
from .device import CudaDevice, cuda_device
from .engine import TensorSpec
from .execution import ExecutionSlot, NetworkShape
from .files import file_sha256
from .profiles import Profile
from .trt_logging import last_errors, trt_logger
from .trt_versions import context_memory_bytes, import_tensorrt

__all__ = ["TensorRTEngine", "open_engine", "tensorrt_problem"]


class TensorRTEngine:
    """A TensorRT engine ready to run; serves the Engine protocol, and runs on arrays in device memory too.

    Several threads may use it at once: each call takes one of the execution contexts and waits while all are busy.
    With two or more, one call's copies run beside another's network.

    Parameters
    ----------
    plan: the engine as TensorRT serialised it.
    device: the GPU.
    name: for messages.
    contexts: execution contexts, each with its own memory.
    cuda_graphs: launch the work as a CUDA graph once a shape repeats.
    advice: what to do where TensorRT refuses the plan.

    Raises EngineError where TensorRT refuses the plan or the GPU has too little memory.
    """

    def __init__(
        self,
        plan: bytes,
        device: CudaDevice,
        *,
        name: str,
        contexts: int = 2,
        cuda_graphs: bool = True,
        advice: str = "Run build_engines.py again.",
    ) -> None:
        self._trt = import_tensorrt()
        self._device = device
        self._name = name
        # Last in, first out: one thread alone stays with one context, whose graph is recorded.
        self._slots: queue.LifoQueue[ExecutionSlot] = queue.LifoQueue()
        self._all: list[ExecutionSlot] = []
        self._closed = False
        self._lock = threading.Lock()
        self._engine: Any = None
        self._runtime: Any = None
        last_errors()
        with device.active():
            try:
                self._runtime, self._engine = self._deserialize(plan, advice)
                self._shape = _network_shape(self._trt, self._engine)
                self.inputs: Mapping[str, TensorSpec] = self._shape.inputs
                self.outputs: Mapping[str, TensorSpec] = self._shape.outputs
                self.max_batch: int = max(next(iter(one.values())).maximum[0] for one in self._shape.profiles)
                for _ in range(contexts):
                    slot = ExecutionSlot(self._context(), device, self._shape, name=name, cuda_graphs=cuda_graphs)
                    self._all.append(slot)
                    self._slots.put(slot)
            except BaseException:
                self._free()
                raise

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network on host arrays; see :meth:`Engine.infer`. What it returns is the caller's to keep."""
        self._check(feeds)
        with self.slot() as slot:
            return slot.infer(feeds)

    @contextlib.contextmanager
    def slot(self) -> Iterator[ExecutionSlot]:
        """Take an execution context for a while, with the device active in this thread; for work that fills the inputs
        in place."""
        with self._device.active():
            slot = self._slots.get()
            try:
                if self._closed:
                    raise EngineError("the engine was closed", where=self._name)
                try:
                    yield slot
                except BaseException:
                    # Nothing may still write into memory that the next user of the slot gets.
                    with contextlib.suppress(EngineError):
                        slot.stream.synchronize()
                    raise
            finally:
                self._slots.put(slot)

    def _deserialize(self, plan: bytes, advice: str) -> tuple[Any, Any]:
        trt = self._trt
        try:
            runtime = trt.Runtime(trt_logger(trt))
        except TypeError as error:  # "factory function returned nullptr"
            raise EngineError(
                "TensorRT does not start on this GPU",
                asked=f"TensorRT {trt.__version__}",
                found=f"driver for CUDA {self._device.driver_version}: {last_errors()}",
                remedy="Install a driver that is new enough for this TensorRT.",
            ) from error
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError("TensorRT refuses the engine", where=self._name, found=last_errors(), remedy=advice)
        return runtime, engine

    def _context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise self._device.no_memory(
                context_memory_bytes(self._trt, self._engine),
                f"execution context {len(self._all) + 1} of {self._name}, batch {self.max_batch} ({last_errors()})",
                f"Build the engine for a smaller batch: --batch {max(1, self.max_batch // 2)}.",
            )
        return context

    def _check(self, feeds: Mapping[str, Array]) -> None:
        if feeds.keys() != self.inputs.keys():
            raise EngineError("wrong input names", where=self._name, asked=sorted(feeds), found=sorted(self.inputs))
        for name, array in feeds.items():
            if np.dtype(array.dtype) != self.inputs[name].dtype:
                raise EngineError(
                    f"input {name!r} has a wrong type",
                    where=self._name,
                    asked=array.dtype,
                    found=self.inputs[name].dtype,
                )

    def _free(self) -> None:
        for slot in self._all:
            slot.close()
        self._all.clear()
        # In this order: a context reaches into its engine, and the engine into the runtime.
        self._engine = None
        self._runtime = None

    def close(self) -> None:
        """Free the engine once no call is running; more than once does no harm."""
        with self._lock:
            if self._closed:
                return
            busy = len(self._all)
            with self._device.active():
                for _ in range(busy):
                    self._slots.get()
                self._closed = True
                self._free()
                # Whoever waits for a context is told.
                if busy:
                    self._slots.put(_CLOSED)

    def __enter__(self) -> TensorRTEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_CLOSED: Any = None


def open_engine(
    model: str,
    onnx: Path,
    directory: Path,
    *,
    precision: str,
    profiles: tuple[Profile, ...],
    contexts: int = 2,
    cuda_graphs: bool = True,
) -> TensorRTEngine:
    """Return the engine that was built for a model on this machine.

    Parameters
    ----------
    model: name in the catalogue.
    onnx: the network in float32 that it has to be built from.
    directory: of the engines.
    profiles: what it has to take at least.

    Raises EngineError where there is no GPU or TensorRT, or where no engine fits; it names the difference and the
    command to build one.
    """
    device = cuda_device()
    entry = find(directory, EngineKey(model, file_sha256(onnx), precision, profiles, this_machine(device)))
    return TensorRTEngine(
        read_plan(entry, directory),
        device,
        name=f"{model} {precision}",
        contexts=contexts,
        cuda_graphs=cuda_graphs,
        advice=rebuild(entry.key, force=True),
    )


def tensorrt_problem() -> str | None:
    """Return why TensorRT cannot be used on this machine, as a sentence; None where it can."""
    try:
        cuda_device()
        import_tensorrt()
    except EngineError as error:
        return str(error)
    return None


def _network_shape(trt: Any, engine: Any) -> NetworkShape:
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape = tuple(size if size >= 0 else None for size in engine.get_tensor_shape(name))
        spec = TensorSpec(name, shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name)
        (inputs if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else outputs)[name] = spec
    profiles = [
        {name: Profile(*(tuple(shape) for shape in engine.get_tensor_profile_shape(name, index))) for name in inputs}
        for index in range(engine.num_optimization_profiles)
    ]
    return NetworkShape(inputs, outputs, profiles)
