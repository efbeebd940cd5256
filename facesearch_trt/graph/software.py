"""Decodes a video on the CPU: GStreamer with software decoders alone.

One pipeline per clip: ``filesrc ! parsebin ! decoder ! queue ! videoconvert ! videoflip ! appsink``. ``parsebin``
finds container and codec but plugs no decoder: which one decodes is decided here, from the plugins that are known to
run on the CPU, so that a machine with a GPU decodes the same pictures as one without. Audio and subtitles are never
decoded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2

from ..errors import DecodeError
from ..types import Array, Clip, Frame
from .gst import Graph, codec_name, gstreamer, mapped, pts_s_of

__all__ = ["SoftwareSource"]

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
    Where decoding breaks off later, the frames end there and ``damage`` says why.
    """

    def __init__(self, clip: Clip, *, stall_timeout_s: float) -> None:
        if clip.source is None:
            raise DecodeError("its video is not at hand", where=clip.name, remedy="Put the video beside its results.")
        self.damage: str | None = None
        self._clip = clip
        self._path: Path = clip.source
        self._stall_timeout_s = stall_timeout_s
        self._graph: Graph | None = None

    def __enter__(self) -> SoftwareSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._graph is not None:
            self._graph.stop()

    def __iter__(self) -> Iterator[Frame]:
        decoding = _Decoding(self._path)
        self.damage = None
        self._graph = decoding.graph = Graph(decoding.pipeline, where=self._path, stall_timeout_s=self._stall_timeout_s)
        frame_num, pts_s, corrupt = 0, 0.0, 0
        try:
            with self._graph as graph:
                try:
                    while (sample := graph.pull(decoding.sink)) is not None:
                        image, duration_s, is_corrupt = _picture(sample)
                        found_s = pts_s_of(sample)
                        # The sample holds the frame's buffer, which the converter could use for the next one.
                        del sample
                        pts_s = found_s if found_s is not None else (pts_s + duration_s if frame_num else 0.0)
                        corrupt += is_corrupt
                        yield Frame(frame_num, pts_s, image.shape[1], image.shape[0], image)
                        frame_num += 1
                except DecodeError as error:
                    if not frame_num:
                        raise decoding.no_video() or error from error
                    self.damage = f"decoding broke off after {frame_num} frames ({error.found or error.what})"
        finally:
            decoding.close()
        if not frame_num:
            raise decoding.no_video() or DecodeError(
                "no frame can be decoded", where=self._path, found="; ".join(graph.warnings) or None
            )


class _Decoding:
    """The pipeline of one file and the callback that plugs its decoder."""

    def __init__(self, path: Path) -> None:
        gst = gstreamer()
        self._path = path
        self._others: list[str] = []
        self._linked = False
        self.graph: Graph | None = None
        self.pipeline = gst.parse_launch(
            "filesrc name=file ! parsebin name=parse "
            f"queue name=queue max-size-buffers={_AHEAD} max-size-bytes=0 max-size-time=0"
            " ! videoconvert ! video/x-raw,format=BGRx ! videoflip video-direction=auto"
            f" ! appsink name=sink sync=false qos=false enable-last-sample=false drop=false max-buffers={_AHEAD}"
        )
        self.pipeline.get_by_name("file").set_property("location", str(path))
        self.sink = self.pipeline.get_by_name("sink")
        self._parse = self.pipeline.get_by_name("parse")
        self._handler = self._parse.connect("pad-added", self._plug)

    def close(self) -> None:
        """Break the cycle of the pipeline and its callback, which Python's collector does not see."""
        self._parse.disconnect(self._handler)

    def no_video(self) -> DecodeError | None:
        """Return the error to raise where the file holds streams but no video."""
        if self._linked or not self._others:
            return None
        found = ", ".join(self._others)
        return DecodeError(
            "there is no video in this file", where=self._path, found=found, remedy="Take it out of the input."
        )

    def _plug(self, _: object, pad: Any) -> None:
        """Link the first video stream to a decoder. Runs in a thread of GStreamer, before the stream's first data.

        parsebin shows all streams before the first data, videos first, in the order of the container.
        """
        try:
            caps = pad.get_current_caps() or pad.query_caps(None)
            if self._linked or not caps.get_structure(0).get_name().startswith(("video/", "image/")):
                self._others.append(codec_name(caps))
                return
            self._linked = True
            self._link(pad, caps)
        # What a callback raises would be printed and lost.
        except Exception as error:
            assert self.graph is not None
            self.graph.fail(error)

    def _link(self, pad: Any, caps: Any) -> None:
        queue = self.pipeline.get_by_name("queue")
        if caps.get_structure(0).get_name() == "video/x-raw":
            pad.link(queue.get_static_pad("sink"))
            return
        decoder = _decoder_for(caps, self._path)
        self.pipeline.add(decoder)
        decoder.link(queue)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))


def _decoder_for(caps: Any, path: Path) -> Any:
    gst = gstreamer()
    kind = gst.ELEMENT_FACTORY_TYPE_DECODER
    factories = [
        factory
        for factory in gst.ElementFactory.list_get_elements(kind, gst.Rank.MARGINAL)
        if factory.get_plugin_name() in _SOFTWARE_PLUGINS and factory.can_sink_any_caps(caps)
    ]
    if not factories:
        codec = codec_name(caps)
        package = _PACKAGE_OF.get(caps.get_structure(0).get_name(), _FALLBACK_PACKAGE)
        raise DecodeError(
            f"there is no software decoder for {codec}", where=path, remedy=f"Install it: apt-get install {package}."
        )
    best = max(factories, key=lambda factory: factory.get_rank())
    log.debug("%s: decoded by %s", path, best.get_name())
    decoder = best.create(None)
    for name, value in (("max-threads", _DECODER_THREADS), ("threads", _DECODER_THREADS), ("max-errors", -1)):
        if decoder.find_property(name) is not None:
            decoder.set_property(name, value)
    return decoder


def _picture(sample: Any) -> tuple[Array, float, bool]:
    """Return a BGRx sample's picture as BGR, its declared duration in seconds, and whether the decoder marked it as
    corrupt.

    BGRx with the fourth byte cut off by OpenCV costs 0.6 of a conversion to BGR by GStreamer, and that cut is the one
    copy which lets the buffer go back to its pool at once, however long the picture lives.
    """
    gst = gstreamer()
    buffer = sample.get_buffer()
    structure = sample.get_caps().get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    with mapped(buffer) as content:
        image = cv2.cvtColor(content.reshape(height, -1)[:, : width * 4].reshape(height, width, 4), cv2.COLOR_BGRA2BGR)
    image.flags.writeable = False
    duration_s = buffer.duration / gst.SECOND if buffer.duration != gst.CLOCK_TIME_NONE else 0.04
    return image, duration_s, bool(buffer.get_flags() & gst.BufferFlags.CORRUPTED)
