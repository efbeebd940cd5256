"""The frames of one clip on their way from its decoder through a shared graph to whoever asked for the clip.

Three threads meet here: the decoder's, which lets frames into the graph; the graph's, which brings them out with what
the network said; and the consumer's, which takes them. A clip may have only so many frames between decoder and
consumer. When they are out, its decoder waits, and only its decoder: the graph itself never waits for a consumer, so
a slow clip cannot hold up the others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import StallError
from ..types import Array
from .buffers import following_pts_s

__all__ = ["ClipFeed", "Raw", "Ticket"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """A frame that was let into the graph."""

    frame_num: int
    """Counts what the decoder gave, from 0."""
    pts_ns: int | None
    """The buffer's time stamp, by which it is known again."""
    pts_s: float
    """The container's presentation time."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A frame that came out of the graph; everything is a copy of its own."""

    ticket: Ticket
    size: tuple[int, int]
    """Width and height of the clip's picture, px."""
    canvas: Array
    """uint8 [H, W, 3] BGR, the mux's picture."""
    outputs: Mapping[int, Mapping[str, Array]]
    """What the networks said, by their ids; empty where it was not wanted."""


class ClipFeed:
    """Where the threads of one clip meet.

    Parameters
    ----------
    where: the clip, for messages.
    room: most frames between decoder and consumer.
    live: whether the decoder cannot wait: a frame that finds no room is dropped, and leaves a gap in the numbers.
    """

    def __init__(self, where: object, room: int, *, live: bool = False) -> None:
        self.where = where
        self.dropped = 0
        """Frames that went into the graph and never came out."""
        self._room = room
        self._live = live
        self._changed = threading.Condition()
        self._inside: deque[Ticket] = deque()
        self._out: deque[Raw] = deque()
        self._claimed = 0
        self.entered = 0
        """Frames that its decoder gave."""
        self._last_pts_s: float | None = None
        self._closed = False
        self._refuses = False
        self._ended = False
        self._done = False
        self._error: Exception | None = None
        self._waiting = False
        self._active_s = time.monotonic()

    def begin(self) -> None:
        """Say that from now on its decoder is expected to work."""
        with self._changed:
            self._active_s = time.monotonic()

    # The decoder's thread.

    def enter(self, pts_ns: int | None, pts_s: float | None, duration_s: float) -> bool:
        """Wait for room, then let a frame in; False where nobody wants it any more.

        ``pts_s`` is None for a frame without a time of its own; see :func:`.buffers.following_pts_s`.
        """
        with self._changed:
            while not self._refuses and len(self._inside) + self._claimed + len(self._out) >= self._room:
                if self._live:
                    self.entered += 1
                    self._active_s = time.monotonic()
                    return False
                self._waiting = True
                self._changed.wait()
            self._waiting = False
            self._active_s = time.monotonic()
            if self._refuses:
                return False
            pts_s = self._last_pts_s = following_pts_s(pts_s, self._last_pts_s, duration_s)
            self._inside.append(Ticket(self.entered, pts_ns, pts_s))
            self.entered += 1
            return True

    def refuse(self) -> None:
        """Let no further frame in, so that a decoder that waits can be stopped. May be called by any thread."""
        with self._changed:
            self._refuses = True
            self._changed.notify_all()

    def end(self) -> None:
        """Say that the decoder has given its last frame."""
        with self._changed:
            self._ended = True
            self._active_s = time.monotonic()

    def fail(self, error: Exception) -> None:
        """End with an error, once what was let in before has come out; the first error stays. May be called by any
        thread.
        """
        with self._changed:
            self._error = self._error or error
            self._ended = True
            self._active_s = time.monotonic()

    # The graph's thread.

    def claim(self, pts_ns: int | None) -> Ticket | None:
        """Return the ticket of a frame that comes out, to be delivered; None where it is not this clip's or not wanted.

        What was before it has been lost.
        """
        with self._changed:
            for index, ticket in enumerate(self._inside):
                if ticket.pts_ns == pts_ns:
                    for _ in range(index + 1):
                        self._inside.popleft()
                    self.dropped += index
                    self._active_s = time.monotonic()
                    if self._closed:
                        return None
                    self._claimed += 1
                    return ticket
            return None

    def deliver(self, raw: Raw) -> None:
        """Give a claimed frame to the consumer."""
        with self._changed:
            self._claimed -= 1
            self._out.append(raw)
            self._changed.notify_all()

    # The watchdog.

    def settle(self, drain_s: float) -> bool:
        """Return whether the clip is through, and tell its consumer.

        After its decoder's end the frames inside may take ``drain_s`` seconds without one coming out; what is left
        then is lost.
        """
        with self._changed:
            if self._done:
                return True
            if not self._closed:
                if not self._ended or not self._is_drained(drain_s):
                    return False
                self.dropped += len(self._inside)
                self._inside.clear()
            self._done = True
            self._changed.notify_all()
            return True

    def drained(self, drain_s: float) -> bool:
        """Return whether no frame of it will come out of the graph any more, so that its place there can be given to
        another
        clip.
        """
        with self._changed:
            return self._is_drained(drain_s)

    def _is_drained(self, drain_s: float) -> bool:
        # A frame that is just being copied is not out yet.
        return not (self._inside or self._claimed) or time.monotonic() - self._active_s >= drain_s

    def idle_s(self) -> float:
        """Return for how many seconds its decoder has given nothing although it may."""
        with self._changed:
            is_waiting = self._waiting or self._inside or self._claimed or self._out or self._ended or self._closed
            return 0.0 if is_waiting else time.monotonic() - self._active_s

    def stall(self, timeout_s: float) -> StallError | None:
        """Return the error of a decoder that has given nothing for longer than ``timeout_s``, None for any other."""
        if self.idle_s() <= timeout_s:
            return None
        return StallError(
            f"the decoder made no progress for {timeout_s:g} s",
            where=self.where,
            remedy="Check that its disk or network answers, or raise --stall-timeout-s.",
        )

    def stuck_s(self) -> float:
        """Return for how many seconds frames have been in the graph without one coming out."""
        with self._changed:
            return time.monotonic() - self._active_s if self._inside and not self._closed and not self._ended else 0.0

    # The consumer's thread.

    def take(self) -> Raw | None:
        """Return the next frame, None after the last. Raises what the clip failed with, after its last frame."""
        with self._changed:
            while not self._out:
                if self._done or self._closed:
                    if self._error is not None:
                        raise self._error
                    return None
                self._changed.wait()
            raw = self._out.popleft()
            self._changed.notify_all()
            return raw

    @property
    def inside(self) -> int:
        """Frames that went into the graph and have not come out yet."""
        return len(self._inside)

    @property
    def failed(self) -> bool:
        """Whether it ends, or ended, with an error."""
        return self._error is not None

    @property
    def closed(self) -> bool:
        """Whether the consumer is gone."""
        return self._closed

    def close(self) -> None:
        """Say that no frame is wanted any more."""
        with self._changed:
            self._closed = self._refuses = True
            self._out.clear()
            self._changed.notify_all()
