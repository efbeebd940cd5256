"""One execution context of a TensorRT engine with the stream and the memory that belong to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import EngineError
from ..types import Array
from .cuda_graph import CudaGraph, driver_library
from .device import CudaDevice, CudaStream
from .device_memory import DeviceArray, DeviceBuffer, PinnedBuffer
from .engine import TensorSpec
from .profiles import Profile, fitting_profile
from .trt_logging import last_errors

__all__ = ["ExecutionSlot", "NetworkShape"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What an engine takes and gives."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    profiles: Sequence[Mapping[str, Profile]]
    """Per optimisation profile the shapes of each input."""


class ExecutionSlot:
    """An execution context, its stream and its buffers; one thread uses it at a time.

    All methods want an active device. Device and page-locked buffers grow to the largest shape seen and are used again
    for every run.

    Parameters
    ----------
    context: the IExecutionContext.
    cuda_graphs: record the work once a shape repeats, and launch it as one.
    """

    def __init__(
        self, context: Any, device: CudaDevice, network: NetworkShape, *, name: str, cuda_graphs: bool
    ) -> None:
        self._context = context
        self._device = device
        self._network = network
        self._name = name
        self._cuda_graphs = cuda_graphs
        self._graph: CudaGraph | None = None
        self._graph_key: object = None
        self._last_key: object = None
        self._profile: int | None = None
        self._memory: dict[str, DeviceBuffer] = {}
        self._pinned: dict[str, PinnedBuffer] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Of all inputs and outputs in the next run."""
        self.stream: CudaStream = device.stream()

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make ready for inputs of these shapes. Raises EngineError where the engine does not take them or memory runs
        out."""
        if all(self.shapes.get(name) == shape for name, shape in shapes.items()):
            return
        profile = fitting_profile(self._network.profiles, shapes)
        if profile is None:
            raise self._wrong_shapes(shapes)
        # Work recorded for other shapes must not run once the context has seen these.
        self._forget_graph()
        self.shapes = {}
        if profile != self._profile:
            if not self._context.set_optimization_profile_async(profile, self.stream.handle):
                raise EngineError("TensorRT refused an optimisation profile", where=self._name, found=last_errors())
            self._profile = profile
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, tuple(shape)):
                raise EngineError(
                    "TensorRT refused an input's shape", where=self._name, asked=list(shape), found=last_errors()
                )
        if missing := self._context.infer_shapes():
            raise EngineError("TensorRT cannot tell the outputs' shapes", where=self._name, found=list(missing))
        sizes = {**shapes, **{name: tuple(self._context.get_tensor_shape(name)) for name in self._network.outputs}}
        for name, shape in sizes.items():
            if min(shape, default=1) < 0:
                raise EngineError(
                    "an output's shape depends on the data", where=self._name, found=f"{name} {list(shape)}"
                )
            self._reserve(name, shape)
            if not self._context.set_tensor_address(name, self._memory[name].pointer):
                raise EngineError(
                    "TensorRT refused a tensor's memory", where=self._name, found=f"{name}: {last_errors()}"
                )
        self.shapes = sizes

    def array(self, name: str) -> DeviceArray:
        """Return the device memory of an input or output in the shape of the next run; used again by later runs."""
        return DeviceArray(self._memory[name].pointer, self.shapes[name], self._spec(name).dtype)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run on host arrays and return host arrays that are the caller's own."""
        self.prepare({name: array.shape for name, array in feeds.items()})
        for name, array in feeds.items():
            self._host(name)[...] = array

        def work() -> None:
            for name in feeds:
                self.stream.upload(self._memory[name].pointer, self._host(name))
            self._execute()
            for name in self._network.outputs:
                self.stream.download(self._host(name), self._memory[name].pointer)

        self._submit("host", work)
        self.stream.synchronize()
        return {name: self._host(name).copy() for name in self._network.outputs}

    def run(self) -> None:
        """Put a run into the stream, from what lies in the inputs' device memory into that of the outputs."""
        self._submit("device", self._execute)

    def fetch(self, names: Sequence[str]) -> dict[str, Array]:
        """Wait for the stream and return outputs as host arrays that are the caller's own."""
        for name in names:
            self.stream.download(self._host(name), self._memory[name].pointer)
        self.stream.synchronize()
        return {name: self._host(name).copy() for name in names}

    def staging(self, what: str, shape: tuple[int, ...], dtype: str) -> tuple[DeviceArray, Array]:
        """Return device and page-locked memory for a caller's own use with this slot's stream, under a name; see
        :meth:`array`."""
        key = f"staging {what}"
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._grow(key, nbytes, pinned=True)
        return DeviceArray(self._memory[key].pointer, shape, dtype), self._pinned[key].view(shape, dtype)

    def close(self) -> None:
        """Free everything, inside an active device; more than once does no harm."""
        self._forget_graph()
        self._context = None
        for memory in self._memory.values():
            memory.close()
        for pinned in self._pinned.values():
            pinned.close()
        self._memory.clear()
        self._pinned.clear()
        self.stream.close()

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self.stream.handle):
            raise EngineError(
                "TensorRT could not run the network", where=self._name, asked=self.shapes, found=last_errors()
            )

    def _submit(self, kind: str, work: Callable[[], None]) -> None:
        key = (kind, self._profile, tuple(self.shapes.items()))
        if self._graph is not None and key == self._graph_key:
            self._graph.launch(self.stream.handle)
            return
        # TensorRT sets itself up in the first run with a shape; the second can be recorded.
        if self._cuda_graphs and key == self._last_key:
            self._forget_graph()
            try:
                with self._device.recording:
                    self._graph = CudaGraph(self.stream.handle, work, driver_library())
            except EngineError as error:
                _log.warning("%s: runs without CUDA graphs: %s", self._name, error)
                self._cuda_graphs = False
            else:
                self._graph_key = key
                self._graph.launch(self.stream.handle)
                return
        work()
        self._last_key = key

    def _forget_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
        self._graph, self._graph_key, self._last_key = None, None, None

    def _reserve(self, name: str, shape: tuple[int, ...]) -> None:
        self._grow(name, int(np.prod(shape, dtype=np.int64)) * np.dtype(self._spec(name).dtype).itemsize, pinned=False)

    def _grow(self, key: str, nbytes: int, *, pinned: bool) -> None:
        kept = self._memory.get(key)
        if kept is None or kept.nbytes < nbytes:
            # Recorded work holds the old addresses.
            self._forget_graph()
            if kept is not None:
                self.stream.synchronize()
                del self._memory[key]
                kept.close()
            batch = max((shape[0] for shape in self.shapes.values() if shape), default=0)
            remedy = "Use a smaller batch (--embed-batch, --detect-batch) or engines built with a smaller --batch."
            self._memory[key] = self._device.allocate(
                nbytes, f"{key} of {self._name}" + (f", batch {batch}" if batch else ""), remedy
            )
        host = self._pinned.get(key)
        if pinned and (host is None or host.nbytes < nbytes):
            self._forget_graph()
            if host is not None:
                self.stream.synchronize()
                del self._pinned[key]
                host.close()
            self._pinned[key] = self._device.pinned(nbytes)

    def _host(self, name: str) -> Array:
        shape, dtype = self.shapes[name], self._spec(name).dtype
        self._grow(name, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize, pinned=True)
        return self._pinned[name].view(shape, dtype)

    def _spec(self, name: str) -> TensorSpec:
        return self._network.inputs.get(name) or self._network.outputs[name]

    def _wrong_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> EngineError:
        takes = [
            f"{list(one.minimum)} to {list(one.maximum)}"
            for profile in self._network.profiles
            for one in profile.values()
        ]
        return EngineError(
            "the engine was not built for inputs of this shape",
            where=self._name,
            asked=", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()),
            found=" or ".join(takes),
            remedy="Use a smaller batch or --detector-size, or build again with a larger --batch or --detector-size.",
        )
