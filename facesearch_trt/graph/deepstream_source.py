"""One clip's or camera's part of a DeepStream graph: from its file or address to decoded, upright NV12 pictures in
device memory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DecodeError
from .autoplug import Autoplug
from .coded import CodedStream
from .elements import element, has_element, link
from .feed import ClipFeed
from .gst import codec_name, gstreamer
from .nvdec import takes

__all__ = ["DECODED", "DECODERS", "FLIP", "SourceBin", "SourceSettings", "decodes", "source_element"]

log = logging.getLogger(__name__)

DECODERS = ("nvv4l2decoder", "nvjpegdec", "nvimagedec")
"""NVIDIA's decoders, one of which has to be in a source."""

DECODED = ("video/x-h264", "video/x-h265", "video/mpeg", "video/x-av1", "video/x-vp8", "video/x-vp9", "image/jpeg")
"""Media types that nvv4l2decoder takes; which profiles of them depends on the chip."""

FLIP = {
    "none": 0,
    "counterclockwise": 1,
    "rotate-180": 2,
    "clockwise": 3,
    "horizontal-flip": 4,
    "upper-right-diagonal": 5,
    "vertical-flip": 6,
    "upper-left-diagonal": 7,
}
"""What turns a picture upright → the value of nvvideoconvert's flip-method."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How a source is opened and decoded."""

    uri: str
    """``file:`` or ``rtsp:``."""
    path: Path | None
    """The file; None for a camera."""
    flip: str
    """What turns its pictures upright, by nvvideoconvert's names."""
    absolute: bool
    """Whether buffers carry the container's own presentation times."""
    gpu_id: int
    jetson: bool
    by: Literal["nvurisrcbin", "nvv4l2decoder"]
    """DeepStream's source bin, or our own chain of elements where it is not there."""
    latency_ms: int
    """Of a camera's jitter buffer; 0 for files."""


def source_element() -> Literal["nvurisrcbin", "nvv4l2decoder"]:
    """Return what opens files on this machine.

    Our own chain where there is a decoder for it: decodebin, which nvurisrcbin holds, loses errors of the demuxers
    that it plugs, and takes a decoder of the CPU where NVIDIA's does not want a stream.
    """
    return "nvv4l2decoder" if has_element("nvv4l2decoder") else "nvurisrcbin"


def decodes(caps: Any) -> bool:
    """Return whether DeepStream's decoder takes a coded stream with these caps."""
    factory = gstreamer().ElementFactory.find("nvv4l2decoder")
    return caps.get_structure(0).get_name() in DECODED and (factory is None or takes(factory, caps))


class SourceBin:
    """The elements of one source, in a bin with one pad ``src``; a :class:`ClipFeed` lets its frames into the graph."""

    def __init__(self, settings: SourceSettings, feed: ClipFeed, *, name: str) -> None:
        gst = gstreamer()
        self._settings = settings
        self._feed = feed
        self._segment: Any = None
        self._coded = CodedStream()
        self._corrupt = 0
        self._interlaced = False
        self._handlers: list[tuple[Any, int]] = []
        self.bin = gst.Bin.new(name)
        self._plug: Autoplug | None = None
        self._gpu = {} if settings.jetson else {"gpu-id": settings.gpu_id}
        self._convert = element("nvvideoconvert", None, {"flip-method": FLIP[settings.flip], **self._gpu})
        only = element("capsfilter", None, {"caps": "video/x-raw(memory:NVMM), format=NV12"})
        self.bin.add(self._convert)
        self.bin.add(only)
        link([self._convert, only])
        if settings.path is None or settings.by == "nvurisrcbin":
            self.bin.add(self._uri_source())
        else:
            self._plug = Autoplug(
                self.bin, settings.path, decoder_for=self._decoder_for, after=self._convert, fail=feed.fail
            )
        self.pad = gst.GhostPad.new("src", only.get_static_pad("src"))
        kinds = gst.PadProbeType.BUFFER | gst.PadProbeType.EVENT_DOWNSTREAM
        self._probe = self.pad.add_probe(kinds, self._passed)
        self.bin.add_pad(self.pad)

    def stop_linking(self) -> None:
        """Plug no further element; to be called before the bin is stopped."""
        if self._plug is not None:
            self._plug.close()

    def close(self) -> None:
        """Break the cycles from the elements over their callbacks to this object; to be called once the bin is stopped."""
        for owner, handler in self._handlers:
            owner.disconnect(handler)
        self._handlers.clear()
        if self._probe:
            self.pad.remove_probe(self._probe)
            self._probe = 0
        self._coded.close()
        self.stop_linking()

    def faults(self) -> list[str]:
        """Return what was found wrong with a clip that has been decoded to its end."""
        found = []
        # Of interlaced video two coded fields may make one frame.
        lost = 0 if self._interlaced else self._coded.expected - self._feed.entered
        if lost > 0:
            found.append(f"{lost} of {self._coded.expected} frames could not be decoded")
        if self._corrupt:
            found.append(f"{self._corrupt} frames are decoded with errors")
        if self._feed.dropped:
            found.append(f"{self._feed.dropped} frames were lost in the graph")
        return found

    def _uri_source(self) -> Any:
        settings = self._settings
        source = element("nvurisrcbin", None, {"uri": settings.uri, **self._gpu})
        if settings.path is None:
            source.set_property("latency", settings.latency_ms)
            # TCP: a lost packet would tear the picture.
            source.set_property("select-rtp-protocol", 4)
        self._handlers.append((source, source.connect("pad-added", self._decoded_pad)))
        return source

    def _decoded_pad(self, source: Any, pad: Any) -> None:
        """Take the pictures of nvurisrcbin. Runs in a thread of GStreamer; what it raises would be lost."""
        try:
            target = self._convert.get_static_pad("sink")
            if not pad.get_name().startswith("vsrc_") or target.is_linked():
                return
            _check_decoder(source, self._feed.where)
            pad.link(target)
        except Exception as error:
            self._feed.fail(error)

    def _decoder_for(self, caps: Any) -> Any:
        """Return NVIDIA's decoder for a file's video. Runs in a thread of GStreamer."""
        media = caps.get_structure(0).get_name()
        if media not in DECODED:
            raise DecodeError(
                "DeepStream has no decoder for it",
                where=self._feed.where,
                found=codec_name(caps),
                remedy="Use --graph software for it.",
            )
        return self._coded.before(element("nvv4l2decoder", None, self._gpu))

    def _passed(self, _: object, info: Any) -> Any:
        """Let a frame into the graph. Runs in the decoder's thread, which waits here while the clip has enough frames
        on their
        way.
        """
        gst = gstreamer()
        kinds = gst.PadProbeReturn
        if not info.type & gst.PadProbeType.BUFFER:
            event = info.get_event()
            if event.type == gst.EventType.SEGMENT:
                self._segment = event.parse_segment().copy()
            elif event.type == gst.EventType.CAPS:
                mode = event.parse_caps().get_structure(0).get_value("interlace-mode")
                self._interlaced = self._interlaced or mode not in (None, "progressive")
            return kinds.OK
        buffer = info.get_buffer()
        none = gst.CLOCK_TIME_NONE
        pts_ns = None if buffer.pts == none else buffer.pts
        time_ns = none if pts_ns is None else pts_ns
        if pts_ns is not None and self._segment is not None and not self._settings.absolute:
            time_ns = self._segment.to_stream_time(gst.Format.TIME, pts_ns)
        self._corrupt += bool(buffer.get_flags() & gst.BufferFlags.CORRUPTED)
        pts_s = None if time_ns == none else time_ns / gst.SECOND
        duration_s = 0.04 if buffer.duration == none else buffer.duration / gst.SECOND
        del buffer
        return kinds.OK if self._feed.enter(pts_ns, pts_s, duration_s) else kinds.DROP


def _check_decoder(source: Any, where: object) -> None:
    """Raise DecodeError where none of NVIDIA's decoders is in a bin that decodes."""
    gst = gstreamer()
    found: list[bool] = []

    def look(one: Any) -> None:
        factory = one.get_factory()
        found.append(factory is not None and factory.get_name() in DECODERS)

    elements = source.iterate_recurse()
    while True:
        result, one = elements.next()
        if result == gst.IteratorResult.OK:
            look(one)
        elif result == gst.IteratorResult.RESYNC:
            elements.resync()
        else:
            break
    if not any(found):
        raise DecodeError(
            "the GPU cannot decode it, and no other decoder is taken in its place",
            where=where,
            remedy="Use --graph software for it.",
        )
