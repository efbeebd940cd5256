"""Sees to it that pictures are converted by the colours that they have: their range, and their YUV matrix.

Two things would go wrong otherwise (GStreamer 1.22). Of an MP4 or MOV file the demuxer reads no range but says that Y goes
from 16 to 235, and parsers and decoders believe it more than the stream: what action cameras and phones record from 0 to
255 would come out too dark, by 8 levels of 255 on average. And ``videoconvert`` takes pictures whose range is unknown for
full ones, and with an unknown matrix heeds neither range nor size.
"""

from __future__ import annotations

from typing import Any

from .buffers import exchange_event
from .gst import colour_codes, gstreamer

__all__ = ["complete_colours", "range_from_stream"]

_LIMITED = 2
_BT709, _BT601 = 3, 4
"""GstVideoColorRange and GstVideoColorMatrix of gst-plugins-base, video/video-color.h."""
_HD_HEIGHT = 720
"""From this height on pictures that do not say their matrix have that of BT.709, as players take it."""


def range_from_stream(pad: Any) -> None:
    """Let the caps that pass a demuxer's pad not say the range, so that the coded stream's counts."""
    pad.add_probe(gstreamer().PadProbeType.EVENT_DOWNSTREAM, _without_range)


def complete_colours(pad: Any) -> None:
    """Let the caps of raw pictures that pass a pad say range and matrix, where the stream said nothing what is usual."""
    pad.add_probe(gstreamer().PadProbeType.EVENT_DOWNSTREAM, _completed)


def _without_range(_: object, info: Any) -> Any:
    codes = _codes(info)
    if codes is not None:
        _, matrix, transfer, primaries = codes
        _exchange(info, (0, matrix, transfer, primaries))
    return gstreamer().PadProbeReturn.OK


def _completed(_: object, info: Any) -> Any:
    codes = _codes(info)
    if codes is not None and not (codes[0] and codes[1]):
        range_, matrix, transfer, primaries = codes
        height = info.get_event().parse_caps().get_structure(0).get_value("height")
        usual = _BT709 if height >= _HD_HEIGHT else _BT601
        _exchange(info, (range_ or _LIMITED, matrix or usual, transfer, primaries))
    return gstreamer().PadProbeReturn.OK


def _codes(info: Any) -> tuple[int, int, int, int] | None:
    """Return the colours in the caps that pass, None where it is another event or its caps say none."""
    event = info.get_event()
    if event.type != gstreamer().EventType.CAPS:
        return None
    text = event.parse_caps().get_structure(0).get_string("colorimetry")
    return None if text is None else colour_codes(text)


def _exchange(info: Any, codes: tuple[int, int, int, int]) -> None:
    caps = info.get_event().parse_caps().copy()
    caps.set_value("colorimetry", ":".join(map(str, codes)))
    exchange_event(info, gstreamer().Event.new_caps(caps))
