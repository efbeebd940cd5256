"""Builds TensorRT engines from ONNX files. Call :func:`build_engine`; the rest is how."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .cache import EngineEntry, EngineKey, Machine, build_lock, entries, store
from .device import CudaDevice, gib
from .files import file_sha256, write_atomic
from .precision import Calibration, node_label, typed_onnx
from .profiles import Profile
from .trt_logging import last_errors, trt_logger
from .trt_versions import (
    configure_precision,
    failed_node,
    import_tensorrt,
    network_flags,
    report_progress,
    share_profiles,
)

__all__ = ["BuildOrder", "build_engine", "this_machine"]

_log = logging.getLogger(__name__)
_TACTICS = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What is to be built."""

    model: str
    """Name in the catalogue."""
    onnx: Path
    """The network in float32, one input [B, 3, H, W]."""
    precision: str
    """ "fp32", "fp16" or "int8"."""
    profiles: tuple[Profile, ...]
    calibration: Calibration | None = None
    """For "int8"."""
    workspace_mib: int = 0
    """Most device memory for a layer's scratch space while building and running; 0 for no limit. Jetson boards have
    little."""
    optimization_level: int = 3
    """0 builds fastest, 5 builds the fastest engine; 3 is TensorRT's default."""

    def key(self, machine: Machine) -> EngineKey:
        """Return what tells the engine from others."""
        return EngineKey(
            self.model,
            file_sha256(self.onnx),
            self.precision,
            self.profiles,
            machine,
            self.calibration.digest[:16] if self.calibration and self.precision == "int8" else "",
        )


def this_machine(device: CudaDevice) -> Machine:
    """Return what an engine built here is tied to. Raises EngineError without a usable TensorRT."""
    return Machine(import_tensorrt().__version__, device.name, device.compute_capability, platform.machine())


def build_engine(
    order: BuildOrder, directory: Path, device: CudaDevice, *, force: bool = False, progress: Progress | None = None
) -> EngineEntry:
    """Return the engine for an order, built if it is not there.

    Of several processes that want it at once one builds and the others wait and use the result.

    Parameters
    ----------
    directory: of the engines.
    force: build it although it is there.
    progress: told phase, steps done and steps in all, from TensorRT 10 on; called from TensorRT's threads.

    Raises EngineError where the network cannot be read or converted, has an operator that TensorRT lacks (named), or
    does not fit the GPU's memory.
    """
    trt = import_tensorrt()
    key = order.key(this_machine(device))
    called_ns = time.time_ns()
    with build_lock(directory):
        present = [entry for entry in entries(directory) if entry.key == key]
        if present and (not force or present[0].path.stat().st_mtime_ns > called_ns):
            present[0].check()
            return present[0]
        onnx = typed_onnx(order.onnx, order.precision, directory / "onnx", order.calibration)
        _log.info("building %s; this takes minutes", key.stem)
        begun = time.monotonic()
        timings = directory / f"timings-trt{trt.__version__}-{key.machine.compute_capability}.cache"
        with device.active():
            plan = _Build(trt, device, order, timings, progress).plan(onnx.read_bytes())
        facts = {"onnx": onnx.name, "onnx_sha256_typed": file_sha256(onnx), "driver": device.driver_version}
        return store(directory, key, plan, time.monotonic() - begun, facts)


class _Build:
    """One build, inside an active device. TensorRT's objects die with the method that made them."""

    def __init__(
        self, trt: Any, device: CudaDevice, order: BuildOrder, timings: Path, progress: Progress | None
    ) -> None:
        self.trt = trt
        self.device = device
        self.order = order
        self.timings = timings
        self.progress = progress

    def plan(self, onnx: bytes) -> memoryview:
        trt, order = self.trt, self.order
        last_errors()
        try:
            builder = trt.Builder(trt_logger(trt))
        except TypeError as error:  # "factory function returned nullptr"
            raise EngineError(
                "TensorRT does not start on this GPU",
                asked=f"TensorRT {trt.__version__}",
                found=f"driver for CUDA {self.device.driver_version}: {last_errors()}",
                remedy="Install a driver that is new enough for this TensorRT.",
            ) from error
        network = builder.create_network(network_flags(trt))
        self._parse(network, onnx)
        config = builder.create_builder_config()
        monitor = report_progress(trt, config, self.progress) if self.progress else None
        if order.workspace_mib:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_mib << 20)
        config.builder_optimization_level = order.optimization_level
        # cuBLAS and cuDNN are off by default from TensorRT 10 on; off everywhere, no version needs them installed.
        config.set_tactic_sources(sum(1 << int(getattr(trt.TacticSource, name)) for name in _TACTICS))
        configure_precision(trt, config, order.precision)
        share_profiles(trt, config)
        self._add_profiles(builder, network, config)
        cache = self._timing_cache(config)
        serialized = builder.build_serialized_network(network, config)
        del monitor
        if serialized is None:
            raise self._failure(last_errors())
        write_atomic(self.timings, bytes(cache.serialize()))
        return memoryview(bytes(serialized))

    def _parse(self, network: Any, onnx: bytes) -> None:
        parser = self.trt.OnnxParser(network, trt_logger(self.trt))
        if parser.parse(onnx):
            return
        reasons = []
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            number, name, operator = failed_node(self.trt, error)
            label = f"{name} ({operator})" if name or operator else node_label(onnx, number)
            reasons.append(f"node {number} {label}: {error.desc()}")
        raise EngineError(
            "TensorRT cannot read the network",
            where=self.order.onnx,
            asked=f"TensorRT {self.trt.__version__}",
            found="; ".join(reasons[:4]) or last_errors(),
            remedy="Use another model, or --backend onnxruntime for this one.",
        )

    def _add_profiles(self, builder: Any, network: Any, config: Any) -> None:
        if network.num_inputs != 1:
            raise EngineError(
                "the network has no single input", where=self.order.onnx, found=f"{network.num_inputs} inputs"
            )
        name = network.get_input(0).name
        for shapes in self.order.profiles:
            profile = builder.create_optimization_profile()
            try:
                profile.set_shape(name, shapes.minimum, shapes.optimum, shapes.maximum)
                added = config.add_optimization_profile(profile)
            except ValueError as error:
                raise self._misfit(shapes, network, error) from error
            if added < 0:
                raise self._misfit(shapes, network, last_errors())

    def _misfit(self, shapes: Profile, network: Any, reason: object) -> EngineError:
        return EngineError(
            "the network does not take the shapes that were asked for",
            where=self.order.onnx,
            asked=f"{list(shapes.minimum)} to {list(shapes.maximum)}",
            found=f"{list(network.get_input(0).shape)}: {reason}",
        )

    def _timing_cache(self, config: Any) -> Any:
        try:
            known = self.timings.read_bytes()
        except FileNotFoundError:
            known = b""
        for content in dict.fromkeys((known, b"")):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, False):
                return cache
            _log.warning("%s: of another GPU or TensorRT; starting anew", self.timings)
        raise EngineError("TensorRT makes no timing cache", found=last_errors())

    def _failure(self, reason: str) -> EngineError:
        order = self.order
        largest = max(shapes.maximum[0] for shapes in order.profiles)
        if "memory" in reason.lower():
            smaller = f" --batch {largest // 2}" if largest > 1 else ""
            return EngineError(
                "not enough GPU memory to build the engine",
                where=order.model,
                asked=f"batch {largest}, {reason}",
                found=f"{gib(self.device.free_bytes())} free of {gib(self.device.total_bytes)}",
                remedy=(
                    f"Build a smaller one: python build_engines.py --models {order.model}{smaller} --workspace-mib 256"
                ),
            )
        return EngineError(
            "TensorRT could not build the engine",
            where=order.model,
            asked=f"{order.precision} on TensorRT {self.trt.__version__}",
            found=reason,
            remedy="Try another --precision, or --backend onnxruntime for this model.",
        )
