"""Clips in a process apart that may die: by a decoder's crash, for want of memory, by a hang that holds the interpreter.

The parent hands out clips, shows progress and keeps the outcomes; it loads neither decoder nor network. One child does the work, several
clips at once in its threads, so that networks are loaded once; nothing of a frame passes between the two. When it dies the clips that
were in work get a WorkerError that names the signal, and the next clip starts a new child.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from ..config import Options
from ..errors import BackendError, WorkerError
from ..store.clip import ClipStore
from ..types import Clip
from .runner import Outcome, Stopped, Watcher

__all__ = ["WORKER", "Isolated", "Order"]

_log = logging.getLogger(__name__)

WORKER = "facesearch_trt.worker"
"""Module that children run, unless their order says another."""
_SLICE_S = 1.0
_SILENT_S = 60.0
"""The child says every few seconds that it lives; after so long a silence its interpreter is stuck in native code."""
_END_S = 10.0
"""How long the child may take to end when it is told to."""


@dataclass(frozen=True)
class Order:
    """What a child is told first."""

    options: Options
    command: str
    """A sub-command of :data:`facesearch_trt.steps.JOBS`."""
    log_level: int
    profile: str | None = None
    """File for a trace."""
    module: str = field(default_factory=lambda: WORKER)
    """What the child runs."""


@dataclass(slots=True)
class _InWork:
    clip: Clip
    watcher: Watcher
    outcome: Future[Outcome]


class Isolated:
    """Runs clips in a child; a context manager that ends it. ``job`` is a :data:`facesearch_trt.running.runner.Job` for several threads.

    Parameters
    ----------
    order: for the child.
    silent_s: after so many seconds without a sign of life the child is killed, and its clips with it.
    gauges: is told what the child measures of itself, by name; see Tools.gauges.
    """

    def __init__(
        self,
        order: Order,
        *,
        silent_s: float | None = None,
        gauges: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        self._order = order
        self._silent_s = _SILENT_S if silent_s is None else silent_s
        self._gauges = gauges
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def start(self) -> None:
        """Start the child now, so that it loads while the parent looks for clips."""
        with self._lock:
            self._living()

    def job(self, clip: Clip, watcher: Watcher) -> Outcome:
        """Have a clip done. Raises what the clip raised there, WorkerError where the child died."""
        work = _InWork(clip, watcher, Future())
        with self._lock:
            self._living().give(work)
        try:
            return work.outcome.result()
        except WorkerError:
            # What the dead left would otherwise stay until this clip is done some day.
            ClipStore(clip.output).tidy()
            raise

    def _living(self) -> _Child:
        if self._closed:
            raise Stopped
        if self._child is None or self._child.is_dead:
            self._child = _Child(self._order, self._silent_s, self._gauges)
        return self._child

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child; clips in work end with Stopped."""
        with self._lock:
            self._closed = True
            child = self._child
        if child is not None:
            child.close()


class _Child:
    """One child process and the thread that listens to it."""

    def __init__(self, order: Order, silent_s: float, gauges: Callable[[dict[str, float]], None] | None) -> None:
        self.is_dead = False
        self._silent_s = silent_s
        self._gauges = gauges
        self._ready = False
        self._closing = False
        self._silent = False
        self._process: subprocess.Popen[bytes] | None = None
        self._unstarted = ""
        """Why there is no process."""
        self._in_work: dict[str, _InWork] = {}
        self._lock = threading.Lock()
        ours, self._theirs = socket.socketpair()
        self._connection = Connection(ours.detach())
        self._connection.send(order)
        self._thread = threading.Thread(target=self._run, args=(order,), name="worker-events", daemon=True)
        self._thread.start()

    def give(self, work: _InWork) -> None:
        with self._lock:
            self._in_work[work.clip.name] = work
        try:
            self._connection.send(work.clip)
        except OSError:
            # It died just now. The listener has yet to say so, or has said it before this clip came.
            self._thread.join()
            self._end()

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._connection.send(None)
        self._thread.join(_END_S)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
        self._thread.join()
        self._connection.close()

    def _run(self, order: Order) -> None:
        # From this thread, which lives as long as the child: the system ends a child with the thread that started it.
        with self._theirs as theirs:
            descriptor = theirs.fileno()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", order.module, str(descriptor), str(os.getpid())],
                    pass_fds=[descriptor],
                    stdin=subprocess.DEVNULL,
                )
            except (OSError, subprocess.SubprocessError) as error:
                self._unstarted = str(error)
        self._listen()

    def _listen(self) -> None:
        silent = 0
        try:
            while silent * _SLICE_S < self._silent_s:
                # Counted in slices, since the time in which both processes were suspended says nothing.
                try:
                    event = self._connection.recv() if self._connection.poll(_SLICE_S) else None
                except (EOFError, OSError, pickle.UnpicklingError):
                    # An event that cannot be read was cut short by the death of its sender.
                    return
                silent = silent + 1 if event is None else 0
                if event is not None:
                    self._take(*event)
            self._silent = True
        finally:
            self._end()

    def _take(self, kind: str, name: str, *values: Any) -> None:
        work = self._in_work.get(name)
        if kind == "log":
            (record,) = values
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        elif kind == "alive":
            self._ready = True
            if self._gauges is not None:
                self._gauges(values[0])
        elif work is None:
            return
        elif kind == "finished":
            self._finish(work, *values)
        else:
            try:
                (work.watcher.started if kind == "started" else work.watcher.advanced)(work.clip, *values)
            except Stopped:
                # The run ends, and will close this child.
                pass
            except Exception as error:
                # It is the parent's, as a terminal that is gone, and ends the run as it does where the work is done in this process.
                self._finish(work, error)

    def _finish(self, work: _InWork, result: Outcome | BaseException) -> None:
        with self._lock:
            del self._in_work[work.clip.name]
        if isinstance(result, BaseException):
            work.outcome.set_exception(result)
        else:
            work.outcome.set_result(result)

    def _end(self) -> None:
        """Note the child's death and tell the clips in work."""
        self.is_dead = True
        status = 0 if self._process is None else self._ended(self._process)
        with self._lock:
            works = list(self._in_work.values())
            self._in_work.clear()
        for work in works:
            work.outcome.set_exception(self._error(work.clip, status))

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        if self._silent:
            process.kill()
        try:
            return process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _error(self, clip: Clip, status: int) -> Exception:
        if self._closing:
            return Stopped(clip.name)
        if self._process is None:
            found = self._unstarted
        elif self._silent:
            found = f"no sign of life for {self._silent_s:g} s, so it was killed"
        elif status < 0:
            found = signal.Signals(-status).name
            if -status == signal.SIGKILL:
                found += "; the system kills so when memory runs out"
        else:
            found = f"exit status {status}"
        if not self._ready:
            return BackendError("the worker process does not start", found=found, remedy="Try --no-isolate.")
        return WorkerError("the process that worked on it died", where=clip.source or clip.output, found=found)
