"""nvvideoconvert: turns single pictures, and makes RGBA of batches."""

from __future__ import annotations

from typing import Any

from gi.repository import GObject, Gst

from tests.doubles.queries import answered

from . import colour
from .elements import Checked, guarded, properties_of
from .memory import Batch, Surface, attach, batch_of, resolved_memory_type
from .rules import violation

_QUARTER_TURNS = (1, 3, 5, 7)


class VideoConvert(Checked, Gst.Element):
    """The element. Its output's format is the first that both it and what follows allow, its own input's where
    possible.
    """

    NAME = "nvvideoconvert"
    KLASS = "Filter/Converter/Video/Scaler"
    RANK = Gst.Rank.NONE
    __gtype_name__ = "DoubleNvVideoConvert"
    __gproperties__ = properties_of(NAME)

    def __init__(self) -> None:
        super().__init__()
        self.start()
        self.sink = Gst.Pad.new_from_template(self.TEMPLATES["sink"], "sink")
        self.src = Gst.Pad.new_from_template(self.TEMPLATES["src"], "src")
        self.sink.set_chain_function_full(lambda pad, parent, buffer: self._chain(buffer))
        self.sink.set_event_function_full(lambda pad, parent, event: self._event(event))
        self.sink.set_query_function_full(answered)
        self.src.set_query_function_full(answered)
        self.add_pad(self.sink)
        self.add_pad(self.src)
        self._caps: Any = None
        self._format = "NV12"

    def _event(self, event: Any) -> bool:
        if event.type != Gst.EventType.CAPS:
            return bool(self.src.push_event(event))
        self._caps = event.parse_caps()
        caps = self._caps.copy()
        if self.value("flip-method") in _QUARTER_TURNS:
            structure = caps.get_structure(0)
            width, height = structure.get_value("width"), structure.get_value("height")
            caps.set_value("width", height)
            caps.set_value("height", width)
        allowed = self.src.peer_query_caps(None)
        if not allowed.can_intersect(caps):
            formats = [name for name in ("RGBA", "RGB", "NV12") if _with_format(caps, name).can_intersect(allowed)]
            if not formats:
                self.fail(f"not negotiated: {caps.to_string()} to {allowed.to_string()}")
                return False
            caps = _with_format(caps, formats[0])
        self._format = caps.get_structure(0).get_value("format")
        return bool(self.src.push_event(Gst.Event.new_caps(caps)))

    @guarded
    def _chain(self, buffer: Any) -> Any:
        batch = batch_of(hash(buffer))
        if batch is None:
            return self.src.push(self._turned(buffer))
        if self.value("flip-method"):
            raise violation("the double's nvvideoconvert turns single pictures only")
        memory = resolved_memory_type(self.value("nvbuf-memory-type"))
        surfaces = [self._converted(surface, memory) for surface in batch.surfaces]
        made = Gst.Buffer.new_allocate(None, 8, None)
        made.pts = buffer.pts
        attach(made, Batch(batch.frames, surfaces, batch.max_frames))
        del buffer
        return self.src.push(made)

    def _converted(self, surface: Surface, memory: int) -> Surface:
        pixels = surface.pixels
        if self._format in ("RGBA", "RGB") and surface.colour_format == "NV12":
            pixels = colour.rgba(pixels, surface.width, surface.height, surface.matrix)
            if self._format == "RGB":
                pixels = _padded_rgb(pixels)
        elif (self._format, surface.colour_format) == ("RGB", "RGBA"):
            pixels = _padded_rgb(pixels)
        elif self._format != surface.colour_format:
            raise violation(f"the double's nvvideoconvert cannot make {self._format} of {surface.colour_format}")
        return Surface(pixels, self._format, surface.width, surface.height, memory, surface.matrix)

    def _turned(self, buffer: Any) -> Any:
        method = self.value("flip-method")
        if not method:
            return buffer
        structure = self._caps.get_structure(0)
        width, height = structure.get_value("width"), structure.get_value("height")
        nv12, width, height = colour.turned(colour.packed(buffer, self._caps), width, height, method)
        made = Gst.Buffer.new_wrapped(_with_stride_of_four(nv12, width, height))
        made.pts, made.dts, made.duration = buffer.pts, buffer.dts, buffer.duration
        return made


def _padded_rgb(rgba: Any) -> Any:
    """Return a picture as RGB whose rows begin at multiples of 256 bytes, as those of pitched device memory do."""
    import numpy as np

    height, width, _ = rgba.shape
    rows = np.zeros((height, (width * 3 + 255) // 256 * 256), np.uint8)
    picture = np.lib.stride_tricks.as_strided(rows, (height, width, 3), (rows.strides[0], 3, 1))
    picture[:] = rgba[:, :, :3]
    return picture


def _with_format(caps: Any, name: str) -> Any:
    changed = caps.copy()
    changed.set_value("format", name)
    return changed


def _with_stride_of_four(nv12: Any, width: int, height: int) -> bytes:
    """Return an NV12 picture as GStreamer lays it out by default."""
    import numpy as np

    stride, rows = (width + 3) // 4 * 4, (height + 1) // 2 * 2
    made = np.zeros((rows + rows // 2, stride), np.uint8)
    made[:height, : nv12.shape[1]] = nv12[:height]
    chroma = nv12[height:]
    made[rows : rows + len(chroma), : nv12.shape[1]] = chroma
    return made.tobytes()


GObject.type_register(VideoConvert)
