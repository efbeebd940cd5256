"""CUDA graphs through the driver's own API, since pycuda has none: what a stream was given once is launched again in
one call.

Works on any driver for CUDA 11.4 or newer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from ..errors import EngineError

__all__ = ["CudaGraph", "driver_library"]

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on allocating memory meanwhile.
_NAME = "libcuda.so.1"
_library: Any = None


def driver_library() -> Any:
    """Return the driver's library. Raises EngineError where it cannot be loaded."""
    global _library
    if _library is None:
        try:
            _library = ctypes.CDLL(_NAME)
        except OSError as error:
            raise EngineError("the NVIDIA driver's library cannot be loaded", asked=_NAME, found=error) from error
    return _library


class CudaGraph:
    """Work recorded from a stream. Everything here happens inside an active device.

    Parameters
    ----------
    stream: handle of the stream, not the default one; nothing else may use it meanwhile.
    record: puts the work into the stream. It may neither wait for the stream nor allocate.
    library: the driver's.

    Raises EngineError where the work cannot be recorded; the stream is usable as before then.
    """

    def __init__(self, stream: int, record: Callable[[], None], library: Any) -> None:
        self._library = library
        self._executable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))
        try:
            record()
        except BaseException:
            library.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
            if graph:
                library.cuGraphDestroy(graph)
            raise
        status = library.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
        if status or not graph:
            if graph:
                library.cuGraphDestroy(graph)
            raise EngineError("the work cannot be recorded as a CUDA graph", found=f"CUDA error {status}")
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0))
        finally:
            library.cuGraphDestroy(graph)

    def launch(self, stream: int) -> None:
        """Put the recorded work into a stream."""
        self._call("cuGraphLaunch", self._executable, ctypes.c_void_p(stream))

    def close(self) -> None:
        """Free the graph; more than once does no harm."""
        if self._executable:
            self._library.cuGraphExecDestroy(self._executable)
            self._executable = ctypes.c_void_p()

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise EngineError("a CUDA graph failed", asked=name, found=f"CUDA error {status}")
