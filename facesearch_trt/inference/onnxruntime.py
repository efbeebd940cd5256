"""Networks on ONNX Runtime: the runtime of machines without an NVIDIA GPU."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import EngineError, pip_install
from ..types import Array
from .engine import TensorSpec

__all__ = ["OnnxRuntimeEngine", "load_library", "onnxruntime_facts"]

_CPU = "CPUExecutionProvider"
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OnnxRuntimeEngine:
    """An ONNX file ready to run on ONNX Runtime; serves the Engine protocol.

    Parameters
    ----------
    path: the ONNX file.
    threads: threads that one ``infer`` call spreads its work over. With 1 the call works in the calling thread alone;
        calling from several threads then uses the cores with less loss than one call on all of them.
    providers: execution providers in order of preference. Each has to be there and to accept the network.

    Raises EngineError where the file cannot be loaded or a provider is missing.
    """

    def __init__(self, path: Path, *, threads: int = 1, providers: Sequence[str] = (_CPU,)) -> None:
        self._path = path
        self._session: Any = _session(path, threads, tuple(providers))
        self.inputs: Mapping[str, TensorSpec] = _specs(self._session.get_inputs())
        self.outputs: Mapping[str, TensorSpec] = _specs(self._session.get_outputs())
        batches = [spec.shape[0] for spec in self.inputs.values() if spec.shape]
        self.max_batch: int = min((size for size in batches if size is not None), default=sys.maxsize)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network; see :meth:`Engine.infer`. May be called from several threads at once."""
        session = self._session
        if session is None:
            raise EngineError("the engine was closed", where=self._path)
        self._check(feeds)
        try:
            results = session.run(None, dict(feeds))
        except Exception as error:  # ONNX Runtime raises a class of its own per status code.
            raise EngineError(
                "ONNX Runtime could not run the network", where=self._path, asked=_shapes(feeds), found=error
            ) from error
        return dict(zip(self.outputs, results, strict=True))

    def _check(self, feeds: Mapping[str, Array]) -> None:
        if feeds.keys() != self.inputs.keys():
            raise EngineError("wrong input names", where=self._path, asked=sorted(feeds), found=sorted(self.inputs))
        for name, array in feeds.items():
            spec = self.inputs[name]
            fits = len(array.shape) == len(spec.shape) and all(
                want is None or want == have for want, have in zip(spec.shape, array.shape, strict=True)
            )
            if not fits or array.dtype != spec.dtype:
                raise EngineError(
                    f"input {name!r} does not fit the network",
                    where=self._path,
                    asked=f"{array.dtype} {list(array.shape)}",
                    found=f"{spec.dtype} [{', '.join('any' if size is None else str(size) for size in spec.shape)}]",
                )

    def __enter__(self) -> OnnxRuntimeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The session's memory goes with its last reference; a run in another thread keeps it until it is done.
        self._session = None


def onnxruntime_facts() -> tuple[str, list[str]]:
    """Return ONNX Runtime's version and its execution providers. Raises EngineError where it is not installed."""
    onnxruntime = load_library()
    return str(onnxruntime.__version__), list(onnxruntime.get_available_providers())


def load_library() -> Any:
    """Load ONNX Runtime and return it, as is to be done before pyarrow and GStreamer are both in a process: loaded after
    them, its own exceptions end the process. Raises EngineError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            "ONNX Runtime is not installed", found=error, remedy=f"Run: {pip_install('onnxruntime')}"
        ) from error
    return onnxruntime


def _session(path: Path, threads: int, providers: tuple[str, ...]) -> Any:
    onnxruntime = load_library()
    onnxruntime.set_default_logger_severity(4)
    missing = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if missing:
        raise EngineError(
            "ONNX Runtime lacks an execution provider",
            where=path,
            asked=", ".join(missing),
            found=", ".join(onnxruntime.get_available_providers()),
            remedy="Install the ONNX Runtime package that has it, or ask for another.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    # A waiting worker that spins takes the core from the decoder and the other networks.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A pattern is kept for every input shape that was ever seen; clips come in many sizes.
    options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # ONNX Runtime raises a class of its own per status code.
        raise EngineError(
            "ONNX Runtime cannot load the network", where=path, found=error, remedy="Fetch or convert the model again."
        ) from error
    # A provider whose libraries fail to load is left out by ONNX Runtime with no more than a log line.
    refused = [name for name in providers if name not in session.get_providers()]
    if refused:
        raise EngineError(
            "an execution provider of ONNX Runtime did not start",
            where=path,
            asked=", ".join(refused),
            found=", ".join(session.get_providers()),
            remedy="Check the driver and the provider's libraries, or ask for another.",
        )
    return session


def _specs(arguments: Sequence[Any]) -> dict[str, TensorSpec]:
    return {
        argument.name: TensorSpec(
            argument.name,
            tuple(size if isinstance(size, int) and size > 0 else None for size in argument.shape),
            _DTYPES.get(argument.type, argument.type),
        )
        for argument in arguments
    }


def _shapes(feeds: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {array.dtype} {list(np.shape(array))}" for name, array in feeds.items())
