"""A camera that never ends: its frames come in a thread of their own, which connects again whenever the camera goes away."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace

from ..errors import DecodeError, StallError
from ..types import Array
from .camera import camera_pictures, without_password

__all__ = ["LiveCounts", "LiveFrame", "LiveStream"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A picture and when it was taken."""

    number: int
    """Counts the frames that the camera sent, also those that were dropped, from 0."""
    utc_s: float
    """Seconds since 1970: when the connection began plus the camera's own time since then."""
    image: Array
    """uint8 [H, W, 3] BGR, read-only."""


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


class LiveStream:
    """The frames of a camera. A context manager that connects, and disconnects on leaving.

    A frame that finds no room is dropped and counted: a camera does not wait.

    Parameters
    ----------
    uri: RTSP address.
    room: most frames that wait to be taken.
    stall_timeout_s: seconds without a picture after which the camera counts as gone.
    latency_ms: of the jitter buffer.
    retry_s: pause before the camera is asked again.
    """

    def __init__(self, uri: str, *, room: int, stall_timeout_s: float, latency_ms: int, retry_s: float) -> None:
        self.where = without_password(uri)
        self._uri = uri
        self._room = room
        self._stall_timeout_s = stall_timeout_s
        self._latency_ms = latency_ms
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

    def peek(self) -> LiveFrame | None:
        """Wait for the next frame and leave it there; None once the stream was stopped and all are taken."""
        with self._changed:
            while not self._frames:
                if self._stopped.is_set():
                    return None
                self._changed.wait()
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
        pictures = camera_pictures(self._uri, stall_timeout_s=self._stall_timeout_s, latency_ms=self._latency_ms)
        for image, time_s in pictures:
            if self._stopped.is_set():
                return
            if began_s is None:
                began_s = time.time() - time_s
                self._is_back()
            # Never back in time, whatever the clocks do.
            self._last_s = max(self._last_s, began_s + time_s)
            self._offer(LiveFrame(self._number, self._last_s, image))
            self._number += 1

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
            if len(self._frames) >= self._room:
                self._counts = replace(self._counts, dropped_frames=self._counts.dropped_frames + 1)
                return
            self._frames.append(frame)
            self._changed.notify_all()
