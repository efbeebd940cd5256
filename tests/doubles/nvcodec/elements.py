"""The plugin's decoders: software decoding under their names, with pictures that end in device memory."""

from __future__ import annotations

from typing import Any

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")

from gi.repository import GLib, GObject, Gst, GstVideo  # noqa: E402

from tests.doubles.queries import answered  # noqa: E402

from .library import CONTEXT_TYPE, Cuda, padded  # noqa: E402

__all__ = ["DECODERS", "STATE"]

STATE: Cuda | None = None

Gst.init(None)


def _template(name: str, direction: Any, caps: str) -> Any:
    return Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(caps))


# What the plugin of GStreamer 1.22 offers behind a decoder; the double makes NV12 in device memory alone.
_OUT = "video/x-raw(memory:CUDAMemory), format=NV12"


class Upload(Gst.Element):
    """Takes NV12 pictures in the host's memory and gives them in device memory."""

    __gtype_name__ = "DoubleNvUpload"
    TEMPLATES = (
        _template("sink", Gst.PadDirection.SINK, "video/x-raw, format=NV12"),
        _template("src", Gst.PadDirection.SRC, _OUT),
    )
    METADATA = ("Upload", "Filter", "puts pictures into device memory", "tests")

    def __init__(self) -> None:
        super().__init__()
        self.sink = Gst.Pad.new_from_template(self.TEMPLATES[0], "sink")
        self.src = Gst.Pad.new_from_template(self.TEMPLATES[1], "src")
        self.sink.set_chain_function_full(lambda pad, parent, buffer: self._chain(buffer))
        self.sink.set_event_function_full(self._event)
        self.sink.set_query_function_full(answered)
        self.add_pad(self.sink)
        self.add_pad(self.src)
        self.has_context = False
        self._info: Any = None

    def _event(self, pad: Any, parent: Any, event: Any) -> bool:
        if event.type == Gst.EventType.CAPS:
            caps = event.parse_caps().copy()
            self._info = GstVideo.VideoInfo.new_from_caps(caps)
            caps.set_features(0, Gst.CapsFeatures.from_string("memory:CUDAMemory"))
            return bool(self.src.push_event(Gst.Event.new_caps(caps)))
        return bool(self.src.push_event(event))

    def _chain(self, buffer: Any) -> Any:
        assert STATE is not None
        if not self.has_context:
            STATE.violations.append("the pipeline was started without the GPU's context: GStreamer would make its own")
            return self._fail("no context")
        info = self._info
        width, height = info.width, info.height
        told = GstVideo.buffer_get_video_meta(buffer) or info
        found, data = buffer.map(Gst.MapFlags.READ)
        assert found
        host = np.frombuffer(data.data, np.uint8)
        pitch = -(-width // 256) * 256
        parts, offsets = [], []
        rows = height, (height + 1) // 2
        for plane, count in enumerate(rows):
            start, stride = told.offset[plane], told.stride[plane]
            lines = np.lib.stride_tricks.as_strided(host[start:], (count, 2 * ((width + 1) // 2)), (stride, 1))
            parts.append(padded(lines, pitch))
            # Decoders pad the picture's height too.
            parts.append(np.full(16 * pitch, 0xEE, np.uint8))
            offsets.append(sum(part.nbytes for part in parts[:-2]))
        buffer.unmap(data)
        content = np.concatenate(parts)
        address = STATE.new_picture(content)
        made = Gst.Buffer.new()
        STATE.wrap(made, address, content.nbytes)
        GstVideo.buffer_add_video_meta_full(
            made,
            GstVideo.VideoFrameFlags.NONE,
            GstVideo.VideoFormat.NV12,
            width,
            height,
            2,
            [*offsets, 0, 0],
            [pitch, pitch, 0, 0],
        )
        made.pts, made.dts, made.duration = buffer.pts, buffer.dts, buffer.duration
        return self.src.push(made)

    def _fail(self, text: str) -> Any:
        error = GLib.Error.new_literal(GLib.quark_from_string("gst-stream-error-quark"), text, 1)
        self.post_message(Gst.Message.new_error(self, error, f"x(1): f (): /x:\n{text}"))
        return Gst.FlowReturn.ERROR


def _declare(cls: Any) -> Any:
    GObject.type_register(cls)
    cls.set_metadata(*cls.METADATA)
    for template in cls.TEMPLATES:
        cls.add_pad_template(template)
    return cls


_declare(Upload)


def _decoder(name: str, media: str, profiles: str, software: str) -> Any:
    class Decoder(Gst.Bin):
        __gtype_name__ = f"Double{name}"
        TEMPLATES = (
            # The parser in front has to bring the stream into this form.
            _template(
                "sink",
                Gst.PadDirection.SINK,
                f"{media}, stream-format=byte-stream, alignment=au, profile={{ {profiles} }}",
            ),
            _template("src", Gst.PadDirection.SRC, _OUT),
        )
        METADATA = (name, "Codec/Decoder/Video/Hardware", "stands in for the plugin's", "tests")

        def __init__(self) -> None:
            super().__init__()
            decode, convert, only = (
                Gst.ElementFactory.make(one, None) for one in (software, "videoconvert", "capsfilter")
            )
            decode.set_property("max-threads", 1)
            only.set_property("caps", Gst.Caps.from_string("video/x-raw, format=NV12"))
            self.upload = Upload()
            chain = [decode, convert, only, self.upload]
            for one in chain:
                self.add(one)
            for one, other in zip(chain, chain[1:], strict=False):
                one.link(other)
            for key, pad in (("sink", decode.get_static_pad("sink")), ("src", self.upload.get_static_pad("src"))):
                template = self.TEMPLATES[0 if key == "sink" else 1]
                ghost = Gst.GhostPad.new_from_template(key, pad, template)
                ghost.set_active(True)
                self.add_pad(ghost)

        def do_set_context(self, context: Any) -> None:
            if context.get_context_type() == CONTEXT_TYPE:
                self.upload.has_context = True
            Gst.Bin.do_set_context(self, context)

    return _declare(Decoder)


# As the plugin of GStreamer 1.22 makes them of what the driver says of a GPU.
H264_PROFILES = "constrained-baseline, baseline, main, high, constrained-high, progressive-high"
DECODERS = {
    "nvh264dec": _decoder("nvh264dec", "video/x-h264", H264_PROFILES, "avdec_h264"),
    "nvh265dec": _decoder("nvh265dec", "video/x-h265", "main, main-10, main-444", "avdec_h265"),
}
