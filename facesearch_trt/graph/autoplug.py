"""Finds the video inside a file: container, stream and parser, up to the point where a graph puts its decoder.

GStreamer's own bins do the same but were seen to lose errors: ``parsebin``, and ``decodebin`` likewise, swallow what
a demuxer says while they are still plugging it (GStreamer 1.22; an MP4 file without samples hangs in 4 to 9 of 30
runs), and they take a hardware decoder where there is one. Here every error reaches the bus, and the graph says which
decoder it wants.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DecodeError
from .buffers import open_end
from .colours import range_from_stream
from .containers import layout_of
from .gst import codec_name, gstreamer
from .plug import Plug, best_factory

__all__ = ["Autoplug"]

log = logging.getLogger(__name__)

_CONTAINERS = {"asf", "avi", "flv", "isomp4", "matroska", "mpegpsdemux", "mpegtsdemux", "mxf", "ogg"}
"""Plugins of the demuxers that are used: they read the file alone. Others fetch what a playlist names."""


class Autoplug(Plug):
    """Links ``filesrc ! typefind ! demuxer ! parser ! decoder ! after`` inside a pipeline, as the file turns out.

    Only the first video stream of the container is linked. Audio, subtitles and further videos stay unlinked: nothing
    decodes them.

    Parameters
    ----------
    pipeline: a ``Gst.Bin`` in state NULL that holds ``after``; its sinks, if it has any, have ``async=false``.
    path: the file.
    decoder_for: returns a new decoder element for a stream's caps; raises DecodeError where there is none.
    after: the element that gets what the decoder makes.
    fail: told of an error that no element would post on the bus.
    """

    def __init__(
        self,
        pipeline: Any,
        path: Path,
        *,
        decoder_for: Callable[[Any], Any],
        after: Any,
        fail: Callable[[Exception], None],
    ) -> None:
        gst = gstreamer()
        super().__init__(pipeline, decoder_for=decoder_for, after=after, fail=fail)
        self.container = ""
        """GStreamer's plugin for the container: ``isomp4``, ``matroska`` and so on; empty for a bare stream."""
        self.absolute = False
        """Whether buffers carry the container's own presentation times, to be taken as they are: Matroska's time line
        begins at 0, but GStreamer's demuxer lets the stream's begin at its first frame."""
        self._path = path
        self._endless = False
        source, typefind = (gst.ElementFactory.make(name) for name in ("filesrc", "typefind"))
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise DecodeError(
                "its name is not UTF-8, which GStreamer wants",
                where=str(path).encode("utf-8", "backslashreplace").decode(),
                remedy="Rename it, or the directory that holds it.",
            ) from error
        source.set_property("location", str(path))
        pipeline.add(source)
        pipeline.add(typefind)
        source.link(typefind)
        self._connect(typefind, "have-type", lambda _, __, caps: self._found_type(typefind, caps))

    def no_video(self) -> DecodeError | None:
        """Return the error to raise where the file holds streams but no video."""
        if self.linked_caps is not None or not self.others:
            return None
        found = ", ".join(self.others)
        return DecodeError(
            "there is no video in this file", where=self._path, found=found, remedy="Take it out of the input."
        )

    def _found_type(self, typefind: Any, caps: Any) -> None:
        gst = gstreamer()
        log.debug("%s: is %s", self._path, caps.to_string())
        demuxer = best_factory(gst.ELEMENT_FACTORY_TYPE_DEMUXER, caps, _CONTAINERS)
        if demuxer is not None:
            self.container = demuxer.get_plugin_name()
            self.absolute = self.container == "matroska"
            # Without an edit list qtdemux ends the stream at its duration, though frames out of order are shown later
            # than that: the decoder would drop the last ones.
            self._endless = self.container == "isomp4" and not layout_of(self._path).edited
            element = self._add(demuxer.create(None))
            self._connect(element, "pad-added", lambda _, pad: self._found_stream(pad))
            self._connect(element, "no-more-pads", lambda _: setattr(self, "_complete", True))
            typefind.link(element)
            element.sync_state_with_parent()
            return
        if caps.get_structure(0).get_name().startswith(("video/", "audio/")):
            # No container: the file is one bare stream.
            self._found_stream(typefind.get_static_pad("src"), caps)
            return
        raise DecodeError(
            "is not a video file", where=self._path, found=codec_name(caps), remedy="Take it out of the input."
        )

    def _before_link(self, pad: Any) -> None:
        if self.container == "isomp4":
            range_from_stream(pad)
        if self._endless:
            pad.add_probe(gstreamer().PadProbeType.EVENT_DOWNSTREAM, _let_run)


def _let_run(_: object, info: Any) -> Any:
    gst = gstreamer()
    event = info.get_event()
    if event.type == gst.EventType.SEGMENT:
        open_end(event)
    return gst.PadProbeReturn.OK
