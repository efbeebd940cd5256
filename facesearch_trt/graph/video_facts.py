"""Looks into a video before it is decoded: the size of its pictures, which way is up, and its codec."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DecodeError
from .autoplug import Autoplug
from .camera import CameraPlug, camera_error, without_password
from .elements import element
from .gst import Graph, codec_name, gstreamer

__all__ = ["VideoFacts", "look_into", "look_into_camera"]

_FLIPS = {
    "rotate-0": "none",
    "rotate-90": "clockwise",
    "rotate-180": "rotate-180",
    "rotate-270": "counterclockwise",
    "flip-rotate-0": "horizontal-flip",
    "flip-rotate-90": "upper-left-diagonal",
    "flip-rotate-180": "vertical-flip",
    "flip-rotate-270": "upper-right-diagonal",
}
"""GStreamer's image-orientation tag → what turns the picture upright, by nvvideoconvert's names."""

_SIDEWAYS = ("clockwise", "counterclockwise", "upper-left-diagonal", "upper-right-diagonal")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a container says of its first video."""

    media: str
    """GStreamer's name of its coding, ``video/x-h264`` for example."""
    codec: str
    """What a user would call it."""
    caps: Any
    """GStreamer's caps of the coded stream as its parser made them: profile, depth, chroma format and so on."""
    coded_width: int
    """Of the pictures as they are coded, px."""
    coded_height: int
    flip: str
    """What turns them upright: a nick of nvvideoconvert's flip-method."""
    absolute: bool
    """Whether buffers carry the container's own times; see :attr:`.autoplug.Autoplug.absolute`."""

    shift_ns: int
    """From a buffer's time stamp to the container's presentation time, as the stream's first segment has it."""

    def time_s(self, pts_ns: int) -> float:
        """Return the presentation time of a buffer in the container, seconds."""
        return (pts_ns if self.absolute else pts_ns + self.shift_ns) / 1e9

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright pictures, px."""
        sides = self.coded_width, self.coded_height
        return (sides[1], sides[0]) if self.flip in _SIDEWAYS else sides


def look_into(path: Path, *, stall_timeout_s: float) -> VideoFacts:
    """Return what a file says of its first video, without decoding it.

    Raises DecodeError where there is none or the file is damaged from the start, StallError where it cannot be read in
    time.
    """

    def plug(pipeline: Any, **parts: Any) -> Autoplug:
        return Autoplug(pipeline, path, **parts)

    return _looked(plug, path, stall_timeout_s)


def look_into_camera(uri: str, *, stall_timeout_s: float, latency_ms: int) -> VideoFacts:
    """Return what a camera says of its video; as :func:`look_into`."""

    def plug(pipeline: Any, **parts: Any) -> CameraPlug:
        return CameraPlug(pipeline, uri, latency_ms=latency_ms, **parts)

    try:
        return _looked(plug, without_password(uri), stall_timeout_s)
    except DecodeError as error:
        raise camera_error(error) from error


def _looked(plug_into: Callable[..., Autoplug | CameraPlug], where: object, stall_timeout_s: float) -> VideoFacts:
    gst = gstreamer()
    pipeline = gst.Pipeline.new(None)
    sink = element("fakesink", None, {"sync": False, "async": False})
    pipeline.add(sink)
    graph = Graph(pipeline, where=where, stall_timeout_s=stall_timeout_s)
    # Where a decoder would stand, coded data passes on to the sink.
    plug = plug_into(pipeline, decoder_for=lambda _: element("identity", None, {}), after=sink, fail=graph.fail)
    view = _View()
    pad = sink.get_static_pad("sink")
    probe = pad.add_probe(gst.PadProbeType.EVENT_DOWNSTREAM | gst.PadProbeType.BUFFER, view.passed)
    try:
        # Closed in the opposite order: nothing is linked any more while the graph stops.
        with graph, contextlib.closing(plug):
            try:
                caps = graph.wait(view.wait, view.ended.is_set)
            except DecodeError as error:
                raise _no_video(plug) or error from error
    finally:
        pad.remove_probe(probe)
    if caps is None:
        raise _no_video(plug) or DecodeError("holds no data", where=where)
    structure = caps.get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    if not width or not height:
        raise DecodeError(
            "its container does not say how large its pictures are",
            where=where,
            found=codec_name(caps),
            remedy="Use --graph software for it.",
        )
    flip = _FLIPS.get(view.orientation, "none")
    absolute = isinstance(plug, Autoplug) and plug.absolute
    return VideoFacts(structure.get_name(), codec_name(caps), caps, width, height, flip, absolute, view.shift_ns)


def _no_video(plug: Autoplug | CameraPlug) -> DecodeError | None:
    return plug.no_video() if isinstance(plug, Autoplug) else None


class _View:
    """Watches what reaches the sink. Its methods but :meth:`wait` run in a thread of GStreamer."""

    def __init__(self) -> None:
        self.orientation = "rotate-0"
        self.shift_ns = 0
        self.ended = threading.Event()
        self._caps: Any = None
        self._seen = threading.Event()

    def wait(self, timeout_s: float) -> Any | None:
        """Return the stream's caps once its first data is here: all that is said of a stream is said before."""
        return self._caps if self._seen.wait(timeout_s) else None

    def passed(self, _: object, info: Any) -> Any:
        gst = gstreamer()
        if info.type & gst.PadProbeType.BUFFER:
            self._seen.set()
            return gst.PadProbeReturn.OK
        event = info.get_event()
        if event.type == gst.EventType.CAPS:
            self._caps = event.parse_caps()
        elif event.type == gst.EventType.SEGMENT:
            segment = event.parse_segment()
            self.shift_ns = segment.time - segment.start
        elif event.type == gst.EventType.TAG:
            found, text = event.parse_tag().get_string("image-orientation")
            self.orientation = text if found else self.orientation
        elif event.type == gst.EventType.EOS:
            self.ended.set()
        return gst.PadProbeReturn.OK
