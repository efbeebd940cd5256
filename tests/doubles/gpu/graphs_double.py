"""The few functions of the driver's library that record and launch CUDA graphs."""

from __future__ import annotations

import threading
from typing import Any

from .contract import Violation
from .machine import GpuMachine

__all__ = ["DriverLibraryDouble"]

_STREAM_CAPTURE_INVALIDATED = 901
_THREAD_LOCAL = 1


class DriverLibraryDouble:
    """Takes and fills ctypes values as the library does; returns 0 or an error's number."""

    def __init__(self, machine: GpuMachine) -> None:
        self._machine = machine

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        self._require_context()
        if mode.value != _THREAD_LOCAL:
            raise Violation("a global capture makes other threads' allocations fail")
        state = self._machine.stream(stream.value)
        state.recording, state.recorded_by, state.broken = [], threading.get_ident(), False
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        state = self._machine.stream(stream.value)
        assert state.recording is not None
        work, state.recording = state.recording, None
        if state.broken:
            graph._obj.value = None
            return _STREAM_CAPTURE_INVALIDATED
        graph._obj.value = self._keep(work)
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        executable._obj.value = self._keep(list(self._machine.graphs[graph.value]))
        return 0

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:
        self._require_context()
        self._machine.calls["graph launch"] += 1
        state = self._machine.stream(stream.value)
        for work in self._machine.graphs[executable.value]:
            state.put(work)
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        del self._machine.graphs[graph.value]
        return 0

    cuGraphExecDestroy = cuGraphDestroy

    def _keep(self, work: list[Any]) -> int:
        handle = self._machine.new_handle()
        self._machine.graphs[handle] = work
        return handle

    def _require_context(self) -> None:
        if not self._machine.has_context:
            raise Violation("a graph was used without a context")
