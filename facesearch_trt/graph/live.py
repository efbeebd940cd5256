"""A camera that never ends: its frames come in a thread of their own, which connects again whenever the camera goes away."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from ..errors import DecodeError, StallError
from ..types import Frame

__all__ = ["LiveCounts", "LiveFrame", "LiveStream"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """What was lost so far."""

    dropped_frames: int = 0
    """Frames that the camera sent and nobody was quick enough to take."""
    interruptions: int = 0
    """How often the camera went away."""
    away_s: float = 0.0
    """For how long in all."""

    def since(self, before: LiveCounts) -> LiveCounts:
        """Return what was lost since an earlier moment."""
        return LiveCounts(
            self.dropped_frames - before.dropped_frames,
            self.interruptions - before.interruptions,
            self.away_s - before.away_s,
        )


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A picture and when it was taken."""

    number: int
    """Counts the frames that the camera sent, also those that were dropped, from 0."""
    utc_s: float
    """Seconds since 1970: when the connection began plus the camera's own time since then."""
    frame: Frame
    """As the camera's graph gave it, maybe with faces."""
    lost: LiveCounts
    """What was lost before it."""


class LiveStream:
    """The frames of a camera. A context manager that connects, and disconnects on leaving.

    A frame that finds no room is dropped and counted: a camera does not wait.

    Parameters
    ----------
    where: the camera, for messages.
    connect: connects, and yields the camera's frames until it ends; ``pts_s`` counts from the beginning of the connection,
        and of frames that were dropped the numbers are missing.
    room: most frames that wait to be taken.
    retry_s: pause before the camera is asked again.
    """

    def __init__(
        self, where: str, connect: Callable[[], Generator[Frame, None, None]], *, room: int, retry_s: float
    ) -> None:
        self.where = where
        self._connect = connect
        self._room = room
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._frames: deque[LiveFrame] = deque()
        self._counts = LiveCounts()
        self._number = 0
        self._last_s = 0.0
        self._away_since: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {self.where}", daemon=True)

    def __enter__(self) -> LiveStream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Take no further frame from the camera; those that wait can still be taken."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    @property
    def counts(self) -> LiveCounts:
        """What was lost so far; a camera that is away just now counts until now."""
        with self._changed:
            away_since = self._away_since
            away_s = 0.0 if away_since is None else time.monotonic() - away_since
            return replace(self._counts, away_s=self._counts.away_s + away_s)

    def peek(self, until_s: float | None = None) -> LiveFrame | None:
        """Wait for the next frame and leave it there; None once the stream was stopped and all are taken.

        ``until_s`` is a time, seconds since 1970, after which None is returned too: a camera may be away for a night.
        """
        with self._changed:
            while not self._frames:
                left_s = None if until_s is None else until_s - time.time()
                if self._stopped.is_set() or (left_s is not None and left_s <= 0):
                    return None
                self._changed.wait(left_s)
            return self._frames[0]

    def take(self) -> LiveFrame | None:
        """Wait for the next frame and take it; None once the stream was stopped and all are taken."""
        with self._changed:
            return self._frames.popleft() if self.peek() is not None else None

    # The camera's thread.

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._connection()
                reason = "the camera ended the stream"
            except (DecodeError, StallError) as error:
                reason = str(error.found or error.what)
            except Exception as error:  # without this thread nobody would ever get a frame or hear why
                log.exception("%s: internal error", self.where)
                reason = repr(error)
            if self._stopped.is_set():
                return
            if self._away_since is None:
                log.warning("%s: %s; it is asked again every %g s", self.where, reason, self._retry_s)
                with self._changed:
                    self._away_since = time.monotonic()
                    self._counts = replace(self._counts, interruptions=self._counts.interruptions + 1)
            self._stopped.wait(self._retry_s)

    def _connection(self) -> None:
        began_s: float | None = None
        first, expected = self._number, 0
        with contextlib.closing(self._connect()) as frames:
            for frame in frames:
                if self._stopped.is_set():
                    return
                if began_s is None:
                    began_s = time.time() - frame.pts_s
                    self._is_back()
                self._drop(frame.frame_num - expected)
                expected = frame.frame_num + 1
                self._number = first + expected
                # Never back in time, whatever the clocks do.
                self._last_s = max(self._last_s, began_s + frame.pts_s)
                self._offer(LiveFrame(first + frame.frame_num, self._last_s, frame, self._counts))

    def _is_back(self) -> None:
        if self._away_since is None:
            return
        away_s = time.monotonic() - self._away_since
        log.info("%s: it is back after %.0f s", self.where, away_s)
        with self._changed:
            self._away_since = None
            self._counts = replace(self._counts, away_s=self._counts.away_s + away_s)

    def _offer(self, frame: LiveFrame) -> None:
        with self._changed:
            if len(self._frames) < self._room:
                self._frames.append(frame)
                self._changed.notify_all()
                return
        self._drop(1)

    def _drop(self, count: int) -> None:
        with self._changed:
            self._counts = replace(self._counts, dropped_frames=self._counts.dropped_frames + count)
