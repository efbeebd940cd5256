"""The child of :mod:`.running.isolated`: ``python -m facesearch_trt.worker SOCKET PARENT``. Does the clips that it is sent and tells of
them."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .errors import FaceSearchError
from .running.isolated import Order
from .running.runner import Outcome, Stopped
from .steps import JOBS
from .types import Clip
from .wiring import Tools

__all__ = ["main"]

_ALIVE_EVERY_S = 2.0
_TELL_EVERY_S = 0.2
"""Between two events of a clip's progress."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class _Line:
    """The way to the parent, for several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, kind: str, name: str = "", *values: Any) -> None:
        # A parent that is gone ends this process anyhow.
        with self._lock, contextlib.suppress(OSError):
            self._connection.send((kind, name, *values))


class _Events:
    """A watcher that tells the parent, a few times a second."""

    def __init__(self, line: _Line, stop: threading.Event) -> None:
        self._line, self._stop = line, stop
        self._frames = self._faces = 0
        self._told_s = 0.0

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        self._line.tell("started", clip.name, frames_expected)

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        if self._stop.is_set():
            raise Stopped(clip.name)
        self._frames += frames
        self._faces += faces
        if time.monotonic() - self._told_s > _TELL_EVERY_S:
            self.flush(clip)

    def flush(self, clip: Clip) -> None:
        if self._frames:
            self._line.tell("advanced", clip.name, self._frames, self._faces)
        self._frames = self._faces = 0
        self._told_s = time.monotonic()

    def finished(self, outcome: Outcome) -> None:
        raise AssertionError("the parent says this")


class _Logs(logging.Handler):
    """Sends what is logged to the parent, which knows how to show it."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        record = copy.copy(record)
        # Arguments and exceptions need not be of a kind that can be sent.
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        self._line.tell("log", "", record)


def _attempt(clip: Clip, order: Order, tools: Tools, line: _Line, stop: threading.Event) -> None:
    events = _Events(line, stop)
    result: Outcome | BaseException
    try:
        result = JOBS[order.command](clip, tools, events)
    except (FaceSearchError, Stopped) as error:
        result = error
    except Exception as error:  # a fault of ours: it travels as text, since its own class need not be one that can
        logging.getLogger(__name__).exception("%s: internal error", clip.name)
        result = Outcome(clip, "failed", f"internal error: {error!r}")
    events.flush(clip)
    line.tell("finished", clip.name, result)


def _die_with(parent: int) -> None:
    """Have the system end this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(descriptor: int, parent: int) -> None:
    """Work until the parent says that it is enough, or is interrupted."""
    _die_with(parent)
    connection = Connection(descriptor)
    order: Order = connection.recv()
    line, stop = _Line(connection), threading.Event()
    logging.basicConfig(level=order.log_level, handlers=[_Logs(line)])
    threads: list[threading.Thread] = []
    with Tools(order.options, profile=Path(order.profile) if order.profile else None) as tools:

        def live() -> None:
            while True:
                line.tell("alive", "", tools.gauges())
                time.sleep(_ALIVE_EVERY_S)

        threading.Thread(target=live, name="alive", daemon=True).start()
        try:
            while (clip := connection.recv()) is not None:
                threads = [thread for thread in threads if thread.is_alive()]
                threads.append(threading.Thread(target=_attempt, args=(clip, order, tools, line, stop), name=clip.name))
                threads[-1].start()
        except (EOFError, KeyboardInterrupt):
            pass
        stop.set()
        for thread in threads:
            thread.join()
    # Native threads that hang must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
