"""Watches what goes into a decoder: how many frames should come out, and which way is up in them."""

from __future__ import annotations

from typing import Any

from .gst import gstreamer
from .orientation import UPRIGHT

__all__ = ["CodedStream"]

_WITH_HIDDEN_FRAMES = ("video/x-vp8",)
"""Codings with frames that are never shown, each in a buffer of its own."""
_WITH_HEADERS = ("video/x-theora",)
"""Codings whose headers are buffers of their own, told by their first bit (Theora specification, 6.1)."""
_EMPTY_VOP_BYTES = 8
"""Room for the header of an MPEG-4 VOP that says that nothing is coded (ISO/IEC 14496-2, 6.2.5), of which decoders make no
frame. It stands where one was left out or, in AVI files, packed into the chunk before."""
_VOP = b"\0\0\1\xb6"


class CodedStream:
    """Counts the coded frames of one stream that are to be shown, and reads its tags.

    A decoder drops what it cannot decode and says nothing; the difference between this count and the frames that it
    made tells. Frames that an edit list cuts away are decoded for the sake of others but not shown, nor counted here.
    """

    def __init__(self) -> None:
        self.expected = 0
        """How many frames should be shown so far; 0 for a coding where that cannot be told."""
        self.orientation = UPRIGHT
        """The stream's image-orientation tag; known before its first frame."""
        self._countable = True
        self._has_headers = False
        self._has_empty = False
        self._start_ns = 0
        self._stop_ns: int | None = None
        self._pad: Any = None
        self._probe = 0

    def before(self, decoder: Any) -> Any:
        """Watch what goes into ``decoder``; returns it."""
        kinds = gstreamer().PadProbeType
        self._pad = decoder.get_static_pad("sink")
        self._probe = self._pad.add_probe(kinds.BUFFER | kinds.EVENT_DOWNSTREAM, self._passed)
        return decoder

    def close(self) -> None:
        """Take the probe away."""
        if self._pad is not None:
            self._pad.remove_probe(self._probe)
            self._pad = None

    def _passed(self, _: object, info: Any) -> Any:
        """Look at what passes; runs in a thread of GStreamer."""
        gst = gstreamer()
        if not info.type & gst.PadProbeType.BUFFER:
            self._read(info.get_event())
            return gst.PadProbeReturn.OK
        if not self._countable:
            return gst.PadProbeReturn.OK
        buffer = info.get_buffer()
        size = buffer.get_size()
        if self._has_headers and size and buffer.extract_dup(0, 1)[0] & 0x80:
            return gst.PadProbeReturn.OK
        if self._has_empty and size <= _EMPTY_VOP_BYTES and buffer.extract_dup(0, 4) == _VOP:
            return gst.PadProbeReturn.OK
        if buffer.pts == gst.CLOCK_TIME_NONE:
            self.expected += 1
            return gst.PadProbeReturn.OK
        end_ns = buffer.pts + (0 if buffer.duration == gst.CLOCK_TIME_NONE else buffer.duration)
        starts_in_time = self._stop_ns is None or buffer.pts < self._stop_ns
        if starts_in_time and (end_ns > self._start_ns or buffer.pts >= self._start_ns):
            self.expected += 1
        return gst.PadProbeReturn.OK

    def _read(self, event: Any) -> None:
        gst = gstreamer()
        if event.type == gst.EventType.SEGMENT:
            segment = event.parse_segment()
            self._start_ns = segment.start
            self._stop_ns = None if segment.stop == gst.CLOCK_TIME_NONE else segment.stop
        elif event.type == gst.EventType.CAPS:
            structure = event.parse_caps().get_structure(0)
            name = structure.get_name()
            self._countable = name not in _WITH_HIDDEN_FRAMES
            self._has_headers = name in _WITH_HEADERS
            self._has_empty = name == "video/mpeg" and structure.get_value("mpegversion") == 4
        elif event.type == gst.EventType.TAG:
            found, orientation = event.parse_tag().get_string("image-orientation")
            self.orientation = orientation if found else self.orientation
