"""Records cameras: their endless streams become clips of a set length, each with the results of a video of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from .errors import InputError
from .graph.camera import checked_address, without_password
from .graph.live import LiveFrame, LiveStream
from .graph.software_camera import software_camera
from .running.runner import Outcome, Watcher, run_clips
from .steps import record_live
from .store.record import Live, Source
from .types import Clip, Frame
from .wiring import Tools

__all__ = ["Camera", "LiveClip", "read_addresses", "record_camera", "stream_of"]

_LATE_S = 5.0
"""How long after a clip's end its last frames may come."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera to be recorded."""

    name: str
    """Begins its clips' names."""
    uri: str
    """RTSP address, with its password."""

    @classmethod
    def from_text(cls, text: str) -> Camera:
        """Return the camera in ``NAME=ADDRESS`` or ``ADDRESS``, whose host and path then make its name. Raises InputError."""
        named = re.fullmatch(r"([\w.-]+)=(\S+)", text)
        uri = checked_address(named[2] if named else text)
        if named:
            return cls(named[1], uri)
        parts = urlsplit(uri)
        return cls(re.sub(r"[^A-Za-z0-9]+", "-", f"{parts.hostname}{parts.path}").strip("-"), uri)


def read_addresses(path: Path) -> list[Camera]:
    """Return the cameras of a file: a line each, ``NAME=ADDRESS`` or ``ADDRESS``; ``#`` at its beginning or after a blank begins
    a remark. Raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot read the list of cameras", where=path, found=error) from error
    cameras = []
    for number, line in enumerate(lines, 1):
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if text:
            try:
                cameras.append(Camera.from_text(text))
            except InputError as error:
                raise InputError(
                    error.what, where=f"{path}:{number}", asked=error.asked, remedy=error.remedy
                ) from error
    return cameras


def stream_of(camera: Camera, tools: Tools, *, room: int, latency_ms: int, retry_s: float) -> LiveStream:
    """Return a camera's stream, by the graph that the tools have.

    Parameters
    ----------
    room, retry_s: see :class:`.graph.live.LiveStream`.
    latency_ms: of the jitter buffer.
    """

    def connect() -> Generator[Frame, None, None]:
        if tools.sources.graph == "deepstream":
            return tools.sources.camera_graph.camera(camera.uri, latency_ms=latency_ms)
        return software_camera(camera.uri, stall_timeout_s=tools.options.stall_timeout_s, latency_ms=latency_ms)

    return LiveStream(without_password(camera.uri), connect, room=room, retry_s=retry_s)


class LiveClip:
    """The frames of a camera from ``first``, its next one, on, for ``length_s`` seconds; a :class:`~facesearch_trt.types.FrameSource`.

    ``frame_num`` counts what the camera sent in that time, also what was dropped; ``pts_s`` is the time since the clip began.
    """

    def __init__(self, stream: LiveStream, first: LiveFrame, length_s: float, *, graph: str) -> None:
        self.graph = graph
        self.finds_faces = graph == "deepstream"
        self.damage: str | None = None
        self._stream = stream
        self._first = first
        self._length_s = length_s

    def lost(self) -> Live:
        """Return what was lost between the clip's first frame and the next clip's; to be asked after the last frame."""
        following = self._stream.peek(until_s=0.0)
        counts = (self._stream.counts if following is None else following.lost).since(self._first.lost)
        return Live(counts.dropped_frames, counts.interruptions, round(1000 * counts.away_s))

    def __iter__(self) -> Iterator[Frame]:
        first = self._first
        # Frames are late by the jitter buffer and the decoder. What is later still belongs to the next clip.
        until_s = first.utc_s + self._length_s + _LATE_S
        while (live := self._stream.peek(until_s)) is not None and live.utc_s - first.utc_s < self._length_s:
            taken = self._stream.take()
            assert taken is live
            yield replace(live.frame, frame_num=live.number - first.number, pts_s=live.utc_s - first.utc_s)

    def __enter__(self) -> LiveClip:
        return self

    def __exit__(self, *_: object) -> None:
        """The stream goes on."""


def record_camera(
    camera: Camera,
    stream: LiveStream,
    root: Path,
    tools: Tools,
    watcher: Watcher,
    *,
    length_s: float,
    done: Callable[[], None],
) -> Sequence[Outcome]:
    """Record a camera until its stream is stopped; return what became of each clip.

    A clip ``NAME-YYYYMMDDTHHMMSSZ`` begins with the first frame and every ``length_s`` seconds after it. A clip that cannot be written is
    told and the next one begun.

    Parameters
    ----------
    stream: of the camera, running.
    length_s: of a clip.
    done: called after every clip.
    """
    outcomes = []
    while (first := stream.peek()) is not None:
        began_s = first.utc_s
        clip = _new_clip(camera.name, began_s, root)
        source = LiveClip(stream, first, length_s, graph=tools.sources.graph)
        origin = Source(without_password(camera.uri), 0, round(began_s * 1e9))

        def job(clip: Clip, watcher: Watcher, source: LiveClip = source, origin: Source = origin) -> Outcome:
            return record_live(clip, source, origin, source.lost, tools, watcher)

        outcomes += run_clips([clip], job, watcher)
        # Of a clip that failed the rest of its time is passed over.
        for _ in source:
            pass
        done()
    return outcomes


def _new_clip(name: str, began_s: float, root: Path) -> Clip:
    stem = f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began_s))}"
    names = (stem if not number else f"{stem}-{number}" for number in range(1000))
    free = next(one for one in names if not (root / f"{one}.pipeline").exists())
    return Clip(free, None, "video", root.absolute() / f"{free}.pipeline")
