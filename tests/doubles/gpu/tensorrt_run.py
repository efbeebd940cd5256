"""Runtime, engine, execution context: what runs a plan."""

from __future__ import annotations

import hashlib
import json
import threading
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime

from .contract import Violation
from .machine import GpuMachine
from .tensorrt_build import MAGIC, NEEDED_DRIVER, log_error
from .tensorrt_enums import Guarded

__all__ = ["run_classes"]

_TYPES = {"tensor(float)": ("FLOAT", np.float32), "tensor(float16)": ("HALF", np.float16)}


def run_classes(machine: GpuMachine, trt: ModuleType, version: str) -> dict[str, Any]:  # noqa: PLR0915
    """Return the classes and functions by name."""

    def nptype(kind: Any) -> type:
        return dict(_TYPES.values())[kind.name]

    class IExecutionContext(Guarded):
        def __init__(self, engine: ICudaEngine, memory: Any) -> None:
            self._engine, self._memory = engine, memory
            self._profile: int | None = None
            self._shapes: dict[str, tuple[int, ...]] = {}
            self._addresses: dict[str, int] = {}
            self._warm: object = None
            self._running = threading.Lock()
            machine.alive["execution contexts"] += 1

        def __del__(self) -> None:
            machine.alive["execution contexts"] -= 1
            machine.free(self._memory)
            self._engine._busy_profiles.pop(id(self), None)

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            machine.stream(stream_handle)
            taken = profile_index in self._engine._busy_profiles.values()
            if taken and not self._engine._header["shared_profiles"]:
                log_error(self._engine._logger, trt, f"Profile {profile_index} has been chosen by another context")
                return False
            if not 0 <= profile_index < len(self._engine._header["profiles"]):
                return False
            self._engine._busy_profiles[id(self)] = profile_index
            self._profile, self._shapes = profile_index, {}
            return True

        def set_input_shape(self, name: str, shape: Any) -> bool:
            if self._profile is None:
                raise Violation("a shape was set before the profile")
            low, _, high = self._engine._header["profiles"][self._profile][name]
            fits = len(shape) == len(low) and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
            if not fits:
                log_error(
                    self._engine._logger, trt, f"Runtime dimension does not satisfy profile: {name} {list(shape)}"
                )
                return False
            self._shapes[name] = tuple(int(size) for size in shape)
            return True

        def infer_shapes(self) -> list[str]:
            return [name for name in self._engine._inputs if name not in self._shapes]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if name in self._shapes:
                return self._shapes[name]
            if self.infer_shapes():
                return self._engine.get_tensor_shape(name)
            return self._engine._output_shapes(self._shapes)[name]

        def set_tensor_address(self, name: str, memory: int) -> bool:
            if memory % 256:
                log_error(self._engine._logger, trt, f"{name}: address is not aligned")
                return False
            self._addresses[name] = int(memory)
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            if not machine.has_context:
                raise Violation("a network was run without the context")
            stream = machine.stream(stream_handle)
            engine, shapes, addresses = self._engine, dict(self._shapes), dict(self._addresses)
            if engine._names != addresses.keys() or self.infer_shapes():
                log_error(engine._logger, trt, "not all tensor addresses and shapes are set")
                return False
            if stream.recording is not None and self._warm != (self._profile, shapes):
                stream.broken = True
                log_error(engine._logger, trt, "the first run with a shape cannot be captured")
                return False
            self._warm = (self._profile, shapes)
            sizes = {**shapes, **engine._output_shapes(shapes)}
            machine.calls["execute"] += 1

            def work() -> None:
                if not self._running.acquire(blocking=False):
                    raise Violation("one execution context ran twice at the same time")
                try:
                    arrays = {
                        name: machine.device_bytes(addresses[name], int(np.prod(sizes[name])) * np.dtype(kind).itemsize)
                        .view(kind)
                        .reshape(sizes[name])
                        for name, kind in engine._kinds.items()
                    }
                    results = engine._session.run(None, {name: arrays[name] for name in engine._inputs})
                    for name, result in zip(engine._outputs, results, strict=True):
                        np.copyto(arrays[name], result)
                finally:
                    self._running.release()

            stream.put(work)
            return True

    class ICudaEngine(Guarded):
        def __init__(self, header: dict[str, Any], model: bytes, logger: Any) -> None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 4
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            values = [*session.get_inputs(), *session.get_outputs()]
            self._header, self._session, self._logger = header, session, logger
            self._inputs = [value.name for value in session.get_inputs()]
            self._outputs = [value.name for value in session.get_outputs()]
            self._names = {value.name for value in values}
            self._kinds = {value.name: _TYPES[value.type][1] for value in values}
            self._declared = {
                value.name: tuple(size if isinstance(size, int) else -1 for size in value.shape) for value in values
            }
            self._types = {value.name: getattr(trt.DataType, _TYPES[value.type][0]) for value in values}
            self._busy_profiles: dict[int, int] = {}
            self._known_shapes: dict[object, dict[str, tuple[int, ...]]] = {}
            machine.alive["engines"] += 1

        def __del__(self) -> None:
            machine.alive["engines"] -= 1

        def _output_shapes(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
            key = tuple(shapes.items())
            if key not in self._known_shapes:
                feeds = {name: np.zeros(shapes[name], self._kinds[name]) for name in self._inputs}
                results = self._session.run(None, feeds)
                self._known_shapes[key] = {
                    name: result.shape for name, result in zip(self._outputs, results, strict=True)
                }
            return self._known_shapes[key]

        @property
        def num_io_tensors(self) -> int:
            return len(self._declared)

        @property
        def num_optimization_profiles(self) -> int:
            return len(self._header["profiles"])

        @property
        def device_memory_size(self) -> int:
            return int(self._header["context_bytes"])

        device_memory_size_v2 = device_memory_size

        def get_tensor_name(self, index: int) -> str:
            return list(self._declared)[index]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self._declared[name]

        def get_tensor_dtype(self, name: str) -> Any:
            return self._types[name]

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.INPUT if name in self._inputs else trt.TensorIOMode.OUTPUT

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
            return [tuple(shape) for shape in self._header["profiles"][profile_index][name]]

        def create_execution_context(self) -> IExecutionContext | None:
            if not machine.has_context:
                raise Violation("an execution context was made without the primary context")
            memory = machine.allocate(self._header["context_bytes"])
            if memory is None:
                log_error(self._logger, trt, "createExecutionContext: Error Code 1: Cuda Runtime (out of memory)")
                return None
            return IExecutionContext(self, memory)

    class Runtime(Guarded):
        def __init__(self, logger: Any) -> None:
            if not machine.has_context:
                raise Violation("TensorRT was used without the primary context being current")
            if machine.driver_version < NEEDED_DRIVER:
                log_error(logger, trt, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger
            machine.alive["runtimes"] += 1

        def __del__(self) -> None:
            if "_logger" in vars(self):
                machine.alive["runtimes"] -= 1

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            plan, digest = bytes(serialized_engine)[:-32], bytes(serialized_engine)[-32:]
            if not plan.startswith(MAGIC) or hashlib.sha256(plan).digest() != digest:
                log_error(self._logger, trt, "Serialization assertion magicTagRead == kMAGIC_TAG failed.")
                return None
            line, model = plan.removeprefix(MAGIC).split(b"\n", 1)
            header = json.loads(line)
            if header["version"] != version:
                log_error(
                    self._logger,
                    trt,
                    "The engine plan file is not compatible with this version of TensorRT, expecting library version "
                    f"{version} got {header['version']}, please rebuild.",
                )
                return None
            if header["compute_capability"] != list(machine.compute_capability):
                log_error(
                    self._logger, trt, "The engine plan file is generated on an incompatible device, please rebuild."
                )
                return None
            return ICudaEngine(header, model, self._logger)

    return {**{kind.__name__: kind for kind in (IExecutionContext, ICudaEngine, Runtime)}, "nptype": nptype}
