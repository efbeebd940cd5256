"""Logger, builder, network, parser, configuration: what makes a plan."""

from __future__ import annotations

import hashlib
import json
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from .contract import Violation
from .machine import GpuMachine
from .tensorrt_enums import Guarded

__all__ = ["MAGIC", "HostMemory", "build_classes", "log_error"]

MAGIC = b"PLAN OF THE DOUBLE\n"
NEEDED_DRIVER = 11080
OPERATORS = frozenset(
    "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose DequantizeLinear Div Exp Flatten Gather Gemm "
    "GlobalAveragePool Identity MatMul MaxPool Mul PRelu Pad QuantizeLinear Relu Reshape Resize Shape Sigmoid Slice Softmax Sub "
    "Transpose Unsqueeze".split()
)
"""Of those that the documentation of onnx-tensorrt lists, the ones that face networks use."""
_HALF, _INT8 = onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8


class HostMemory(bytes):
    """Memory of the library that the buffer protocol reads."""

    @property
    def nbytes(self) -> int:
        return len(self)


def log_error(logger: Any, trt: Any, message: str) -> None:
    """Report through the program's logger, as the library does."""
    logger.log(trt.ILogger.ERROR, message)


def build_classes(machine: GpuMachine, trt: ModuleType, version: str) -> dict[str, type]:  # noqa: PLR0915
    """Return the classes by name."""
    old = version.startswith("8.")
    always_typed = version.startswith("11.")

    def has(name: str) -> bool:
        kind, member = name.split(".")
        return hasattr(getattr(trt, kind), member)

    class Severity:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"

    class ILogger(Guarded):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"

        def __init__(self, min_severity: Any = "WARNING") -> None:
            self._ready = True

    class IProgressMonitor(Guarded):
        def __init__(self) -> None:
            self._ready = True

    def check_ready(thing: Any, what: str) -> None:
        if not getattr(thing, "_ready", False):
            raise TypeError(f"{what}.__init__() must be called when overriding __init__")

    class ITensor(Guarded):
        def __init__(self, value: Any) -> None:
            self._value = value

        @property
        def name(self) -> str:
            return str(self._value.name)

        @property
        def shape(self) -> tuple[int, ...]:
            dims = self._value.type.tensor_type.shape.dim
            return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)

    class INetworkDefinition(Guarded):
        def __init__(self, flags: int) -> None:
            self._flags = flags
            self._model: Any = None
            self._bytes = b""

        @property
        def num_inputs(self) -> int:
            return len(self._model.graph.input)

        def get_input(self, index: int) -> ITensor:
            return ITensor(self._model.graph.input[index])

        def _flag(self, name: str) -> bool:
            full = f"NetworkDefinitionCreationFlag.{name}"
            return has(full) and bool(self._flags >> int(getattr(trt.NetworkDefinitionCreationFlag, name)) & 1)

    class ParserError(Guarded):
        def __init__(self, number: int, node: Any, text: str) -> None:
            self._number, self._node, self._text = number, node, text

        def desc(self) -> str:
            return self._text

        def node(self) -> int:
            return self._number

        def node_name(self) -> str:
            return str(self._node.name)

        def node_operator(self) -> str:
            return str(self._node.op_type)

    class OnnxParser(Guarded):
        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            check_ready(logger, "ILogger")
            self._network, self._logger, self._errors = network, logger, []

        def parse(self, model: bytes, path: str | None = None) -> bool:
            if old and not self._network._flag("EXPLICIT_BATCH"):
                raise Violation("the ONNX parser of TensorRT 8 needs a network with explicit batch")
            try:
                proto = onnx.load_from_string(model)
            except Exception:
                log_error(self._logger, trt, "ModelImporter.cpp: failed to parse the ONNX model")
                return False
            # An operator that nobody has is reported by node; everything else needs a valid file.
            self._errors = [
                ParserError(
                    number, node, f"No importer registered for op: {node.op_type}. Attempting to import as plugin."
                )
                for number, node in enumerate(proto.graph.node)
                if node.domain or node.op_type not in OPERATORS
            ] + _bad_quantisation(proto, ParserError)
            if self._errors:
                return False
            onnx.checker.check_model(proto)
            self._network._model, self._network._bytes = proto, bytes(model)
            return True

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> ParserError:
            return self._errors[index]

    class IOptimizationProfile(Guarded):
        def __init__(self) -> None:
            self._shapes: dict[str, list[tuple[int, ...]]] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            shapes = [tuple(int(size) for size in shape) for shape in (min, opt, max)]
            ordered = all(0 <= a <= b <= c for a, b, c in zip(*shapes, strict=True))
            if not ordered:
                raise ValueError("shapes of an optimisation profile must satisfy min <= opt <= max")
            self._shapes[input] = shapes

    class ITimingCache(Guarded):
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> HostMemory:
            return HostMemory(self._content)

    timings = f"TIMINGS {version} {machine.compute_capability}\n".encode()

    class IBuilderConfig(Guarded):
        _settable = frozenset({"builder_optimization_level", "progress_monitor"})

        def __init__(self) -> None:
            self._flags = {"TF32"}
            self._features: set[str] = set()
            self._profiles: list[IOptimizationProfile] = []
            self._cache: Any = None
            self._tactics: int | None = None
            self._workspace: int | None = None

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            assert pool is trt.MemoryPoolType.WORKSPACE
            self._workspace = pool_size

        def set_tactic_sources(self, tactic_sources: int) -> bool:
            self._tactics = int(tactic_sources)
            return True

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            (self._features.add if enable else self._features.discard)(feature.name)

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            content = bytes(serialized_timing_cache)
            return None if content and not content.startswith(b"TIMINGS ") else ITimingCache(content)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            if cache._content and not cache._content.startswith(timings) and not ignore_mismatch:
                return False
            self._cache = cache
            return True

    class Builder(Guarded):
        def __init__(self, logger: ILogger) -> None:
            check_ready(logger, "ILogger")
            if not machine.has_context:
                raise Violation("TensorRT was used without the primary context being current")
            if machine.driver_version < NEEDED_DRIVER:
                log_error(logger, trt, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            return INetworkDefinition(flags)

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> HostMemory | None:
            machine.calls["build"] += 1
            problem = self._problem(network, config)
            if problem is None and not self._progress(config):
                problem = "Build aborted by the progress monitor"
            if problem is not None:
                log_error(self._logger, trt, problem)
                return None
            if config._cache is not None:
                config._cache._content = config._cache._content or timings
                config._cache._content += network._model.graph.name.encode() + b"\n"
            header = {
                "version": version,
                "gpu": machine.name,
                "compute_capability": list(machine.compute_capability),
                "shared_profiles": not old or "PROFILE_SHARING_0806" in config._features,
                "profiles": [profile._shapes for profile in config._profiles],
                "context_bytes": max(_activations(profile._shapes) for profile in config._profiles),
            }
            plan = MAGIC + json.dumps(header).encode() + b"\n" + network._bytes
            return HostMemory(plan + hashlib.sha256(plan).digest())

        def _problem(self, network: INetworkDefinition, config: IBuilderConfig) -> str | None:
            types = {tensor.data_type for tensor in network._model.graph.initializer}
            typed = always_typed or network._flag("STRONGLY_TYPED")
            asked = config._flags & {"FP16", "INT8"}
            if typed and asked:
                return f"IBuilderConfig::setFlag: {sorted(asked)} cannot be set for a strongly typed network"
            if old and _HALF in types and "FP16" not in config._flags:
                return "Network has FP16 tensors, but the builder flag FP16 is not set"
            if old and _INT8 in types and "INT8" not in config._flags:
                return "Network has quantize layers, but the builder flag INT8 is not set"
            if not config._profiles:
                return "Network has dynamic or shape inputs, but no optimization profile has been defined."
            for profile in config._profiles:
                for value in (network.get_input(index) for index in range(network.num_inputs)):
                    shapes = profile._shapes.get(value.name)
                    if shapes is None:
                        return f"profile lacks input {value.name}"
                    if any(len(shape) != len(value.shape) for shape in shapes) or any(
                        real not in (-1, size)
                        for shape in shapes
                        for size, real in zip(shape, value.shape, strict=True)
                    ):
                        return f"{value.name}: profile {shapes} does not fit the network's {list(value.shape)}"
                if machine.used_bytes + 2 * _activations(profile._shapes) > machine.memory_bytes:
                    return f"Requested amount of GPU memory ({2 * _activations(profile._shapes)} bytes) could not be allocated."
            return None

        def _progress(self, config: IBuilderConfig) -> bool:
            monitor = vars(config).get("progress_monitor")
            if monitor is None:
                return True
            check_ready(monitor, "IProgressMonitor")
            monitor.phase_start("Building", None, 2)
            going = all(monitor.step_complete("Building", step) for step in range(2))
            monitor.phase_finish("Building")
            return going

    return {
        kind.__name__: kind
        for kind in (
            ILogger,
            IProgressMonitor,
            ITensor,
            INetworkDefinition,
            ParserError,
            OnnxParser,
            IOptimizationProfile,
            ITimingCache,
            IBuilderConfig,
            Builder,
        )
    }


def _activations(shapes: dict[str, list[tuple[int, ...]]]) -> int:
    return sum(int(np.prod(largest)) * 8 for _, _, largest in shapes.values())


def _bad_quantisation(proto: Any, error: Any) -> list[Any]:
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = []
    for number, node in enumerate(proto.graph.node):
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        value, zero = weights.get(node.input[0]), weights.get(node.input[2]) if len(node.input) > 2 else None
        if value is not None and value.data_type == onnx.TensorProto.INT32:
            found.append(
                error(number, node, "Assertion failed: dequantisation of INT32 (a quantised bias) is not supported")
            )
        elif zero is not None and (zero.data_type != _INT8 or onnx.numpy_helper.to_array(zero).any()):
            found.append(error(number, node, "Assertion failed: only int8 with zero point 0 is supported"))
    return found
