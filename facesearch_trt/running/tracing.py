"""A trace of a run that Perfetto (https://ui.perfetto.dev) and chrome://tracing open: what each thread did when.

The file holds events in the Trace Event Format of Google's Catapult project, as a JSON array; its closing bracket may be missing, so the
file of a run that was killed can be read too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from ..errors import StoreError

__all__ = ["Pool", "Trace"]

P = ParamSpec("P")
T = TypeVar("T")

_SHORTEST_S = 20e-6
"""Shorter spans are left out: nobody sees them, and a stage that only passes a frame on would fill the file."""


class Trace:
    """Writes spans to a file as they end. A context manager; may be used from several threads.

    A file that is there already goes on, so that a worker which took another's place adds to its trace. Raises StoreError where the file
    cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise StoreError("cannot write the trace", where=path, found=error.strerror) from error
        self._separator = ",\n" if self._file.tell() else "[\n"
        self._lock = threading.Lock()
        self._named: set[int] = set()
        self._pid = os.getpid()

    def span(self, name: str, start_s: float, end_s: float) -> None:
        """Note that this thread was at ``name`` between two times of :func:`time.perf_counter`."""
        if end_s - start_s < _SHORTEST_S:
            return
        thread = threading.get_native_id()
        where = {"pid": self._pid, "tid": thread}
        event: dict[str, Any] = {"name": name, "ph": "X", "ts": round(start_s * 1e6, 1)}
        event |= {"dur": round((end_s - start_s) * 1e6, 1), **where}
        lines = [event]
        with self._lock:
            if thread not in self._named:
                self._named.add(thread)
                name_of = {"name": threading.current_thread().name}
                lines.insert(0, {"name": "thread_name", "ph": "M", **where, "args": name_of})
            if not self._file.closed:
                for line in lines:
                    self._file.write(self._separator + json.dumps(line))
                    self._separator = ",\n"

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._file.write("\n]\n" if self._separator != "[\n" else "[]\n")
            self._file.close()


class Pool(ThreadPoolExecutor):
    """Threads that know how many tasks wait for them or are in work, and trace these."""

    def __init__(self, threads: int, name: str, trace: Trace | None = None) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._trace = trace
        self._count_lock = threading.Lock()
        self.pending = 0
        """Tasks that wait or are in work."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a task over; see Executor.submit."""
        future = super().submit(fn if self._trace is None else self._traced(fn), *args, **kwargs)
        with self._count_lock:
            self.pending += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[Any]) -> None:
        with self._count_lock:
            self.pending -= 1

    def _traced(self, function: Callable[P, T]) -> Callable[P, T]:
        name = getattr(function, "__qualname__", type(function).__name__).rsplit("<locals>.", 1)[-1]

        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            start_s = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                assert self._trace is not None
                self._trace.span(name, start_s, time.perf_counter())

        return run
