"""Decodes a video on the CPU: GStreamer with software decoders alone.

One pipeline per clip: ``filesrc ! typefind ! demuxer ! parser ! decoder ! queue ! videoconvert ! appsink``.
:mod:`.autoplug` finds container and codec; which element decodes is decided here, from the plugins that are known to
run on the CPU, so that a machine with a GPU decodes the same pictures as one without. Audio and subtitles are never
decoded.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2

from ..errors import DecodeError
from ..types import Array, Clip, Frame
from .autoplug import Autoplug, best_factory
from .buffers import mapped, pts_s_of
from .coded import CodedStream
from .containers import Layout, checked_layout
from .gst import Graph, codec_name, gstreamer, launch
from .orientation import upright

__all__ = ["SoftwareSource", "package_of", "software_decoder"]

log = logging.getLogger(__name__)

_SOFTWARE_PLUGINS = {
    "libav",
    "aom",
    "dav1d",
    "de265",
    "jpeg",
    "openh264",
    "openjpeg",
    "png",
    "rsdav1d",
    "svtav1",
    "theora",
    "vpx",
    "webp",
}
"""Plugins whose decoders run on the CPU. A list of what is allowed: hardware decoders do not all say what they are."""

_PACKAGE_OF = {
    "video/x-av1": "gstreamer1.0-plugins-bad",
    "video/x-vp8": "gstreamer1.0-plugins-good",
    "video/x-vp9": "gstreamer1.0-plugins-good",
    "image/jpeg": "gstreamer1.0-plugins-good",
    "video/x-theora": "gstreamer1.0-plugins-base",
}
_FALLBACK_PACKAGE = "gstreamer1.0-libav"

_DECODER_THREADS = max(1, min(4, os.cpu_count() or 1))
"""More than 4 gain little on one clip and each holds frames; with more cores several clips are decoded at once."""
_SHORT_S = 1.0
"""By how much a video may be shorter than its container declares and still be whole."""
_AHEAD = 4
"""Frames that GStreamer decodes ahead, in the queue before and in the appsink after the conversion each."""


class SoftwareSource:
    """The frames of one video, decoded on the CPU; a :class:`~facesearch_trt.types.FrameSource`.

    Parameters
    ----------
    clip: a video clip whose ``source`` is at hand.
    stall_timeout_s: seconds without a frame after which the clip is given up.

    Frames come in presentation order, all that the container shows, none dropped or repeated, turned upright where
    the container says how. Each is a read-only uint8 [H, W, 3] BGR array of its own in the coded size: pixel aspect
    ratio and interlacing stay as they are, and sizes may change in mid-stream. ``pts_s`` is the container's
    presentation time (edit lists applied); a frame without one gets the time of the frame before plus the frame
    duration that the stream declares (0.04 s where it declares none).

    Iterating raises DecodeError for a file of which nothing can be decoded and StallError for a decoder that hangs.
    A fault of the file does not end it: the decoder goes on with the next frame that it can decode, and ``damage`` says
    afterwards how many are lost or marked as broken, what GStreamer warned of, and whether the file was cut off.
    """

    graph = "software"
    finds_faces = False

    def __init__(self, clip: Clip, *, stall_timeout_s: float) -> None:
        if clip.source is None:
            raise DecodeError("its video is not at hand", where=clip.name, remedy="Put the video beside its results.")
        self.damage: str | None = None
        self._clip = clip
        self._path: Path = clip.source
        self._stall_timeout_s = stall_timeout_s
        self._graph: Graph | None = None
        self._plug: Autoplug | None = None

    def __enter__(self) -> SoftwareSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._plug is not None:
            self._plug.close()
        if self._graph is not None:
            self._graph.stop()

    def __iter__(self) -> Iterator[Frame]:
        path = self._path
        layout = checked_layout(path)
        pipeline = launch(
            f"queue name=decoded max-size-buffers={_AHEAD} max-size-bytes=0 max-size-time=0"
            " ! videoconvert ! video/x-raw,format=BGRx"
            f" ! appsink name=sink sync=false async=false qos=false enable-last-sample=false drop=false max-buffers={_AHEAD}"
        )
        graph = self._graph = Graph(pipeline, where=path, stall_timeout_s=self._stall_timeout_s)
        coded = CodedStream()
        plug = self._plug = Autoplug(
            pipeline,
            path,
            decoder_for=lambda caps: coded.before(_decoder_for(caps, path)),
            after=pipeline.get_by_name("decoded"),
            fail=graph.fail,
        )
        self.damage = None
        decoded = _Decoded()
        try:
            # Closed in the opposite order: nothing is linked any more while the graph stops.
            with graph, contextlib.closing(plug):
                try:
                    yield from self._frames(graph, plug, coded, pipeline.get_by_name("sink"), decoded)
                except DecodeError as error:
                    if not decoded.count:
                        raise plug.no_video() or error from error
                    decoded.broke_off = str(error.found or error.what)
                decoded.declared_s = _declared_s(graph, plug)
        finally:
            coded.close()
        if not decoded.count:
            raise plug.no_video() or DecodeError(
                "no frame of it can be decoded",
                where=path,
                found="; ".join(graph.warnings) or None,
                remedy="Check that it plays elsewhere.",
            )
        self.damage = _damage(decoded, coded, layout, graph.warnings, plug)

    def _frames(
        self, graph: Graph, plug: Autoplug, coded: CodedStream, sink: Any, decoded: _Decoded
    ) -> Iterator[Frame]:
        pts_s = 0.0
        while (sample := graph.pull(sink, hopeless=lambda: plug.linked_caps is None)) is not None:
            image, duration_s = _picture(sample, coded.orientation, decoded)
            found_s = pts_s_of(sample, absolute=plug.absolute)
            # The sample holds the buffer, which the converter could use for its next frame.
            del sample
            if found_s is not None:
                pts_s = found_s
            elif decoded.count:
                pts_s += duration_s
            frame_num = decoded.count
            decoded.count += 1
            decoded.end_s = max(decoded.end_s, pts_s + duration_s)
            yield Frame(frame_num, pts_s, image.shape[1], image.shape[0], image)


@dataclass(slots=True)
class _Decoded:
    """What came out of a decoder."""

    count: int = 0
    corrupt: int = 0
    """Frames that the decoder itself marked as broken."""
    interlaced: bool = False
    end_s: float = 0.0
    """When the last frame's time is over."""
    declared_s: float | None = None
    """When the container says that its video ends, where it says so."""
    broke_off: str = ""
    """The error that ended the decoding."""


def _declared_s(graph: Graph, plug: Autoplug) -> float | None:
    """Return the container's length, None where it need not be the video's.

    A transport stream's is an estimate, and sound may go on for longer than the pictures.
    """
    return graph.duration_s() if plug.container in ("avi", "matroska") and not plug.others else None


def _damage(decoded: _Decoded, coded: CodedStream, layout: Layout, warnings: list[str], plug: Autoplug) -> str | None:
    """Return what a decoded clip lacks, None where it is whole."""
    found = []
    if decoded.broke_off:
        found.append(f"decoding broke off after {decoded.count} frames ({decoded.broke_off})")
    if layout.missing_bytes:
        found.append(f"the file ends {layout.missing_bytes:,} bytes early; {decoded.count} frames could be decoded")
    # Of interlaced video two coded fields may make one frame.
    lost = 0 if decoded.interlaced or decoded.broke_off else coded.expected - decoded.count
    if decoded.declared_s is not None and not found and decoded.declared_s - decoded.end_s > _SHORT_S:
        found.append(f"its video ends at {decoded.end_s:.1f} s, where {decoded.declared_s:.1f} s are declared")
    found.extend(f"a further video in it, {codec}, is not decoded" for codec in plug.later)
    if lost > 0:
        found.append(f"{lost} of {coded.expected} frames could not be decoded")
    if decoded.corrupt:
        found.append(f"{decoded.corrupt} frames are decoded with errors")
    found.extend(warnings)
    return "; ".join(found) or None


def software_decoder(caps: Any) -> Any | None:
    """Return the factory of the decoder that is taken for a stream's caps, None where the CPU has none."""
    return best_factory(gstreamer().ELEMENT_FACTORY_TYPE_DECODER, caps, _SOFTWARE_PLUGINS)


def package_of(media_type: str) -> str:
    """Return the Debian or Ubuntu package with a software decoder for a media type (``video/x-vp9``)."""
    return _PACKAGE_OF.get(media_type, _FALLBACK_PACKAGE)


def _decoder_for(caps: Any, path: Path) -> Any:
    factory = software_decoder(caps)
    if factory is None:
        package = package_of(caps.get_structure(0).get_name())
        raise DecodeError(
            f"there is no software decoder for {codec_name(caps)}",
            where=path,
            remedy=f"Install it: apt-get install {package}.",
        )
    log.debug("%s: decoded by %s", path, factory.get_name())
    decoder = factory.create(None)
    for name, value in (("max-threads", _DECODER_THREADS), ("threads", _DECODER_THREADS), ("max-errors", -1)):
        if decoder.find_property(name) is not None:
            decoder.set_property(name, value)
    return decoder


def _picture(sample: Any, orientation: str, decoded: _Decoded) -> tuple[Array, float]:
    """Return a BGRx sample's picture as upright BGR and its declared duration in seconds; notes in ``decoded`` what is odd.

    BGRx with the fourth byte cut off by OpenCV costs 0.6 of a conversion to BGR by GStreamer, and that cut is the one
    copy which lets the buffer go back to its pool at once, however long the picture lives.
    """
    gst = gstreamer()
    buffer = sample.get_buffer()
    structure = sample.get_caps().get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    with mapped(buffer) as content:
        # Rows of four-byte pixels need no padding, so none is looked for.
        image = cv2.cvtColor(content.reshape(height, width, 4), cv2.COLOR_BGRA2BGR)
    image = upright(image, orientation)
    image.flags.writeable = False
    decoded.corrupt += bool(buffer.get_flags() & gst.BufferFlags.CORRUPTED)
    decoded.interlaced = decoded.interlaced or structure.get_value("interlace-mode") not in (None, "progressive")
    duration_s = buffer.duration / gst.SECOND if buffer.duration != gst.CLOCK_TIME_NONE else 0.04
    return image, duration_s
