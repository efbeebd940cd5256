"""Records cameras: their endless streams become clips of a set length, each with the results of a video of its own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import InputError
from .graph.camera import checked_address, without_password
from .graph.live import LiveCounts, LiveStream
from .runner import Outcome, Watcher, run_clips
from .steps import record_live
from .store.record import Live, Source
from .types import Clip, Frame
from .wiring import Tools

__all__ = ["Camera", "LiveClip", "read_addresses", "record_camera"]


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
    """Return the cameras of a file: a line each, ``NAME=ADDRESS`` or ``ADDRESS``; ``#`` begins a remark. Raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("cannot read the list of cameras", where=path, found=error) from error
    cameras = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text:
            try:
                cameras.append(Camera.from_text(text))
            except InputError as error:
                raise InputError(
                    error.what, where=f"{path}:{number}", asked=error.asked, remedy=error.remedy
                ) from error
    return cameras


class LiveClip:
    """The frames of a camera from its next one on, for so many seconds; a :class:`~facesearch_trt.types.FrameSource`.

    ``frame_num`` counts what the camera sent in that time, also what was dropped; ``pts_s`` is the time since the clip began.
    """

    graph = "software"
    finds_faces = False

    def __init__(self, stream: LiveStream, began_s: float, length_s: float) -> None:
        self.damage: str | None = None
        self._stream = stream
        self._began_s = began_s
        self._length_s = length_s
        self._before = stream.counts

    def lost(self) -> Live:
        """Return what was lost since the clip began."""
        counts: LiveCounts = self._stream.counts.since(self._before)
        return Live(counts.dropped_frames, counts.interruptions, round(1000 * counts.away_s))

    def __iter__(self) -> Iterator[Frame]:
        first: int | None = None
        while (frame := self._stream.peek()) is not None and frame.utc_s - self._began_s < self._length_s:
            taken = self._stream.take()
            assert taken is frame
            first = frame.number if first is None else first
            height, width = frame.image.shape[:2]
            yield Frame(frame.number - first, frame.utc_s - self._began_s, width, height, frame.image)

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
        source = LiveClip(stream, began_s, length_s)
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
