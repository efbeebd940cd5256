"""What differs between TensorRT 8.6, 10.x and 11.x. Everything that only some versions have is named here and nowhere
else.

The common path asks for nothing that changes: explicit batch, precision as the ONNX file has it, no cuBLAS or cuDNN
tactics, inputs and outputs by name. The rest:

=====================  ====================  =====================  ==========================
what                   8.6                   10.0 to 10.16          11.x
=====================  ====================  =====================  ==========================
explicit batch         a network flag        always                 always
precision of layers    builder flags         STRONGLY_TYPED         always strongly typed
one profile, several   a preview feature     always                 always
execution contexts
progress while         no                    yes                    yes
building
an engine's memory     device_memory_size    ..., 10.3: ..._v2      device_memory_size_v2
a parser error's node  its number            also its name          also its name
=====================  ====================  =====================  ==========================
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import EngineError

__all__ = [
    "OLDEST",
    "VERSION_DEPENDENT",
    "Generation",
    "configure_precision",
    "context_memory_bytes",
    "failed_node",
    "generation",
    "import_tensorrt",
    "network_flags",
    "report_progress",
    "share_profiles",
]

_log = logging.getLogger(__name__)

OLDEST = (8, 6)
_NEWEST_KNOWN = 11

VERSION_DEPENDENT: dict[str, tuple[tuple[int, int], tuple[int, int] | None]] = {
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": ((8, 6), (11, 0)),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": ((10, 0), None),
    "BuilderFlag.FP16": ((8, 6), (11, 0)),
    "BuilderFlag.INT8": ((8, 6), (11, 0)),
    "PreviewFeature.PROFILE_SHARING_0806": ((8, 6), (11, 0)),
    "IBuilderConfig.progress_monitor": ((10, 0), None),
    "IProgressMonitor": ((10, 0), None),
    "ICudaEngine.device_memory_size": ((8, 6), (11, 0)),
    "ICudaEngine.device_memory_size_v2": ((10, 3), None),
    "ParserError.node_name": ((10, 0), None),
    "ParserError.node_operator": ((10, 0), None),
}
"""Attributes used below that only some versions have: the first with it, and the first without it again."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How one range of TensorRT versions is to be used."""

    explicit_batch_flag: bool
    strongly_typed_flag: bool
    precision_flags: bool
    profile_sharing_feature: bool
    progress_monitor: bool
    memory_size_v2: bool
    named_parser_errors: bool


def generation(version: str) -> Generation:
    """Return how a version, "10.3.0" for example, is to be used. Raises EngineError for one older than 8.6."""
    major, minor = _numbers(version)
    if (major, minor) < OLDEST:
        raise EngineError(
            "this TensorRT is too old",
            asked="8.6 or newer",
            found=version,
            remedy="Install TensorRT 8.6, 10.x or 11.x (JetPack 6.0 or newer on Jetson).",
        )
    return Generation(
        explicit_batch_flag=major < 10,
        strongly_typed_flag=major == 10,
        precision_flags=major < 10,
        profile_sharing_feature=major < 10,
        progress_monitor=major >= 10,
        memory_size_v2=(major, minor) >= (10, 3),
        named_parser_errors=major >= 10,
    )


def import_tensorrt() -> Any:
    """Return the tensorrt module. Raises EngineError where it is missing, does not load or is too old."""
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise EngineError(
            "TensorRT's Python module cannot be loaded",
            found=error,
            remedy="Install TensorRT 8.6, 10.x or 11.x with its Python bindings, or use --backend onnxruntime.",
        ) from error
    generation(tensorrt.__version__)
    if _numbers(tensorrt.__version__)[0] > _NEWEST_KNOWN:
        _log.warning("TensorRT %s is newer than any this program was written for", tensorrt.__version__)
    return tensorrt


def network_flags(trt: Any) -> int:
    """Return the flags for Builder.create_network."""
    kind = generation(trt.__version__)
    flags = 0
    if kind.explicit_batch_flag:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if kind.strongly_typed_flag:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def configure_precision(trt: Any, config: Any, precision: str) -> None:
    """Allow the types that the ONNX file holds where the network is not strongly typed, and make "fp32" mean it.

    Parameters
    ----------
    config: the IBuilderConfig.
    precision: "fp32", "fp16" or "int8".
    """
    if precision == "fp32":
        # TF32 rounds factors to 10 bits of mantissa, no better than float16.
        config.clear_flag(trt.BuilderFlag.TF32)
    if generation(trt.__version__).precision_flags and precision != "fp32":
        # What int8 leaves in float runs in float16 here; strongly typed networks take the file at its word.
        config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)


def share_profiles(trt: Any, config: Any) -> None:
    """Let several execution contexts use one optimisation profile at the same time."""
    if generation(trt.__version__).profile_sharing_feature:
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)


def report_progress(trt: Any, config: Any, report: Callable[[str, int, int], None]) -> Any:
    """Call ``report(phase, done, steps)`` while an engine is built, where TensorRT can tell.

    Returns an object that has to live as long as ``config`` does; None for versions without progress.
    """
    if not generation(trt.__version__).progress_monitor:
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            self.steps[phase_name] = num_steps
            self.tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return self.tell(phase_name, step + 1)

        def phase_finish(self, phase_name: str) -> None:
            self.tell(phase_name, self.steps.get(phase_name, 1))

        def tell(self, phase: str, done: int) -> bool:
            # An exception would cross TensorRT's C++ threads and end the process; False ends the build.
            try:
                report(phase, done, self.steps.get(phase, max(1, done)))
            except Exception:
                _log.exception("reporting the progress of the build failed")
                return False
            return True

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor


def context_memory_bytes(trt: Any, engine: Any) -> int:
    """Return the device memory that each execution context of an engine takes."""
    if generation(trt.__version__).memory_size_v2:
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


def failed_node(trt: Any, error: Any) -> tuple[int, str, str]:
    """Return number, name and operator of the ONNX node that a parser error is about; the latter two may be empty."""
    if generation(trt.__version__).named_parser_errors:
        return int(error.node()), str(error.node_name()), str(error.node_operator())
    return int(error.node()), "", ""


def _numbers(version: str) -> tuple[int, int]:
    parts = version.split(".")
    return int(parts[0]), int(parts[1])
