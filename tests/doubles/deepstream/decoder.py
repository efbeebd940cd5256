"""nvv4l2decoder and nvurisrcbin: software decoding under NVIDIA's names."""

from __future__ import annotations

import itertools
from typing import Any

from gi.repository import GObject, Gst

from .elements import Checked, Nvmm, properties_of
from .rules import STATE

_SOFTWARE = {
    "video/x-h264": "avdec_h264",
    "video/x-h265": "avdec_h265",
    "video/mpeg": "avdec_mpeg4",
    "video/x-vp8": "vp8dec",
    "video/x-vp9": "vp9dec",
    "video/x-av1": "av1dec",
    "image/jpeg": "jpegdec",
}
_PARSERS = {
    "video/x-h264": "h264parse",
    "video/x-h265": "h265parse",
    "video/mpeg": "mpeg4videoparse",
    "video/x-av1": "av1parse",
    "image/jpeg": "jpegparse",
}


class Decoder(Checked, Gst.Bin):
    """The decoder. What decodes is plugged when the stream's caps are known, as the real one decides then too."""

    NAME = "nvv4l2decoder"
    KLASS = "Codec/Decoder/Video/Hardware"
    RANK = Gst.Rank.PRIMARY + 11
    __gtype_name__ = "DoubleNvV4l2Decoder"
    __gproperties__ = properties_of(NAME)

    def __init__(self) -> None:
        super().__init__()
        self.start()
        self._entry = Gst.ElementFactory.make("capsfilter", "entry")
        convert = Gst.ElementFactory.make("videoconvert", "convert")
        only = Gst.ElementFactory.make("capsfilter", "only")
        only.set_property("caps", Gst.Caps.from_string("video/x-raw, format=NV12"))
        nvmm = Nvmm()
        for one in (self._entry, convert, only, nvmm):
            self.add(one)
        convert.link(only)
        only.link(nvmm)
        self._convert = convert
        entry = self._entry.get_static_pad("sink")
        entry.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self._see)
        for name, pad in (("sink", entry), ("src", nvmm.get_static_pad("src"))):
            ghost = Gst.GhostPad.new_from_template(name, pad, self.TEMPLATES[name])
            ghost.set_active(True)
            self.add_pad(ghost)

    def _see(self, pad: Any, info: Any) -> Any:
        event = info.get_event()
        if event.type == Gst.EventType.CAPS and self._entry.get_static_pad("src").get_peer() is None:
            name = event.parse_caps().get_structure(0).get_name()
            decoder = Gst.ElementFactory.make(_SOFTWARE[name], "software")
            if decoder.find_property("max-threads") is not None:
                decoder.set_property("max-threads", 1)
            if decoder.find_property("max-errors") is not None:
                # A hardware decoder gives up at once.
                decoder.set_property("max-errors", 0)
            self.add(decoder)
            self._entry.link(decoder)
            decoder.link(self._convert)
            decoder.sync_state_with_parent()
        return Gst.PadProbeReturn.OK

    def do_change_state(self, transition: Any) -> Any:
        result = Gst.Bin.do_change_state(self, transition)
        if transition == Gst.StateChange.NULL_TO_READY:
            STATE.decoders_alive += 1
        elif transition == Gst.StateChange.READY_TO_NULL:
            STATE.decoders_alive -= 1
        return result


class UriSource(Checked, Gst.Bin):
    """The source bin: finds the stream, decodes its video, and connects again to a camera that went away."""

    NAME = "nvurisrcbin"
    KLASS = "Source/Bin"
    RANK = Gst.Rank.NONE
    __gtype_name__ = "DoubleNvUriSrcBin"
    __gproperties__ = properties_of(NAME)

    def __init__(self) -> None:
        super().__init__()
        self.start()
        self._source: Any = None

    def do_change_state(self, transition: Any) -> Any:
        if transition == Gst.StateChange.NULL_TO_READY and self._source is None:
            source = self._source = Gst.ElementFactory.make("urisourcebin", "source")
            source.set_property("uri", self.value("uri"))
            source.connect("pad-added", self._opened)
            source.connect("source-setup", self._set_up)
            self.add(source)
        return Gst.Bin.do_change_state(self, transition)

    def _set_up(self, _: Any, element: Any) -> None:
        if element.find_property("latency") is not None:
            element.set_property("latency", self.value("latency"))
            element.set_property("tcp-timeout", 2_000_000)
        if self.value("select-rtp-protocol") == 4 and element.find_property("protocols") is not None:
            element.set_property("protocols", 4)

    def _opened(self, _: Any, pad: Any) -> None:
        parse = Gst.ElementFactory.make("parsebin", None)
        parse.connect("pad-added", self._found)
        self.add(parse)
        parse.sync_state_with_parent()
        pad.link(parse.get_static_pad("sink"))

    def _found(self, _: Any, pad: Any) -> None:
        name = (pad.get_current_caps() or pad.query_caps(None)).get_structure(0).get_name()
        if name not in _SOFTWARE or self.get_static_pad("vsrc_0") is not None:
            return
        chain = [Gst.ElementFactory.make("queue", None)]
        if name in _PARSERS:
            chain.append(Gst.ElementFactory.make(_PARSERS[name], None))
        chain.append(Gst.ElementFactory.make("nvv4l2decoder", None))
        for one in chain:
            self.add(one)
        for one, other in itertools.pairwise(chain):
            one.link(other)
        ghost = Gst.GhostPad.new_from_template("vsrc_0", chain[-1].get_static_pad("src"), self.TEMPLATES["vsrc_%u"])
        ghost.set_active(True)
        for one in reversed(chain):
            one.sync_state_with_parent()
        self.add_pad(ghost)
        pad.link(chain[0].get_static_pad("sink"))


GObject.type_register(Decoder)
GObject.type_register(UriSource)
