"""Makes video clips with GStreamer's own encoders; each frame shows its number as squares that survive lossy coding."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facesearch_trt.graph.gst import gstreamer
from facesearch_trt.types import Array, Clip

__all__ = [
    "CODECS",
    "MUXERS",
    "audio_only",
    "clip_of",
    "cut_short",
    "frames_of",
    "missing",
    "number_of",
    "numbered",
    "turned",
    "write_clip",
]

SIZE = (128, 96)
"""Width and height that a clip has unless a test asks for another."""

CODECS = {
    "h264": "openh264enc complexity=low gop-size={gop} ! h264parse",
    # Three B-frames in a row: coded order and presentation order differ.
    "h265": "x265enc speed-preset=ultrafast key-int-max={gop}"
    " option-string=bframes=3:log-level=none:pools=none:frame-threads=1 ! h265parse",
    "vp8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist={gop}",
    "vp9": "vp9enc deadline=1 cpu-used=8 keyframe-max-dist={gop} ! vp9parse",
    "av1": "av1enc usage-profile=realtime cpu-used=8 keyframe-max-dist={gop} ! av1parse",
    "mpeg4": "avenc_mpeg4 name=untimed gop-size={gop} bitrate=2000000",
    "mpeg4-b": "avenc_mpeg4 name=untimed gop-size={gop} bitrate=2000000 max-bframes=2",
    "mjpeg": "jpegenc",
    "theora": "theoraenc keyframe-freq={gop}",
    "raw": "identity",
    # What NVDEC does not decode.
    "prores": "videoconvert ! avenc_prores name=untimed",
    "ffv1": "avenc_ffv1 name=untimed",
    "h265-422-10": "videoconvert ! video/x-raw,format=I422_10LE ! x265enc speed-preset=ultrafast key-int-max={gop}"
    " option-string=log-level=none:pools=none:frame-threads=1 ! h265parse",
}
"""Encoder and parser of each codec."""

MUXERS = {
    ".mp4": "mp4mux",
    ".m4v": "mp4mux",
    ".mov": "qtmux",
    ".mkv": "matroskamux",
    ".webm": "webmmux",
    ".avi": "avimux",
    ".ts": "mpegtsmux",
    ".m2ts": "mpegtsmux m2ts-mode=true",
}

_GRID = 4
"""The pattern is 4 × 4 squares: three corners say which way is up, the rest are the number's bits."""
_CORNERS = {0: True, 3: False, 12: False}
_BITS = [cell for cell in range(_GRID * _GRID) if cell not in _CORNERS]


def numbered(number: int, size: tuple[int, int] = SIZE) -> Array:
    """Return a BGR frame of ``size`` (width, height) that shows ``number``, 0 to 8191."""
    cells = np.zeros(_GRID * _GRID, bool)
    for cell, value in _CORNERS.items():
        cells[cell] = value
    for bit, cell in enumerate(_BITS):
        cells[cell] = number >> bit & 1
    width, height = size
    rows, columns = (np.arange(length) * _GRID // length for length in (height, width))
    grey = np.where(cells.reshape(_GRID, _GRID)[rows][:, columns], 220, 30).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_of(image: Array) -> int:
    """Return the number that an upright frame shows. Raises AssertionError where it is not upright or shows none."""
    height, width = image.shape[:2]
    centres = (2 * np.arange(_GRID) + 1) / (2 * _GRID)
    rows, columns = (centres * height).astype(int), (centres * width).astype(int)
    cells = (image[rows][:, columns].mean(axis=2) > 125).ravel()
    wrong = [cell for cell, value in _CORNERS.items() if cells[cell] != value]
    assert not wrong, (
        f"frame is turned or broken: corners {wrong} of {cells.reshape(_GRID, _GRID).astype(int).tolist()}"
    )
    return sum(int(cells[cell]) << bit for bit, cell in enumerate(_BITS))


def clip_of(path: Path) -> Clip:
    """Return the clip of a video file."""
    return Clip(path.stem, path, "video", path.with_suffix(".pipeline"))


def missing(*descriptions: str) -> list[str]:
    """Return those elements of pipeline descriptions that this machine lacks."""
    gst = gstreamer()
    names = [part.split()[0] for text in descriptions for part in text.split("!") if "/" not in part.split()[0]]
    return [name for name in names if gst.ElementFactory.find(name) is None]


def write_clip(
    path: Path,
    frames: Iterable[Array],
    *,
    codec: str = "h264",
    pts_s: Sequence[float] | None = None,
    fps: int = 25,
    gop: int = 12,
    audio: bool = False,
    muxer: str | None = None,
    pixel_aspect: str = "1/1",
) -> Path:
    """Encode BGR frames into ``path``, whose suffix chooses the container.

    ``pts_s`` are the presentation times (``n / fps`` where not given). Frames may change size. ``muxer``
    is another than the suffix's, with its properties. ``audio`` adds a second of AAC (Opus in WebM).
    """
    gst = gstreamer()
    text = (
        "appsrc name=in format=time ! videoconvert ! video/x-raw,format=I420"
        f" ! {CODECS[codec].format(gop=gop)} ! queue ! mux. {muxer or MUXERS[path.suffix]} name=mux ! filesink name=out"
    )
    if audio:
        encoder = "opusenc" if path.suffix == ".webm" else "avenc_aac"
        text += f" audiotestsrc num-buffers=43 ! audioconvert ! audioresample ! {encoder} ! queue ! mux."
    pipeline = gst.parse_launch(text)
    pipeline.get_by_name("out").set_property("location", str(path))
    appsrc = pipeline.get_by_name("in")
    untimed = pipeline.get_by_name("untimed")
    coded = itertools.count()

    def stamp(pad: Any, info: Any) -> Any:
        # Encoders of gst-libav 1.22 give no times; these make no B-frames, so coded order is presentation
        # order.
        buffer = info.get_buffer()
        start_ns = pad.get_sticky_event(gst.EventType.SEGMENT, 0).parse_segment().start
        buffer.pts = buffer.dts = start_ns + when_ns(next(coded))
        return gst.PadProbeReturn.OK

    def when_ns(index: int) -> int:
        return round((index / fps if pts_s is None else pts_s[index]) * gst.SECOND)

    if untimed is not None:
        untimed.get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, stamp)

    def buffers() -> Iterator[Any]:
        for index, frame in enumerate(frames):
            height, width = frame.shape[:2]
            caps = f"video/x-raw,format=BGR,width={width},height={height},framerate={fps}/1"
            # GStreamer's rows of a BGR picture begin at multiples of four bytes.
            rows = np.zeros((height, (width * 3 + 3) // 4 * 4), np.uint8)
            rows[:, : width * 3] = frame.reshape(height, width * 3)
            buffer = gst.Buffer.new_wrapped(rows.tobytes())
            buffer.pts = when_ns(index)
            buffer.duration = gst.SECOND // fps
            appsrc.set_property("caps", gst.Caps.from_string(f"{caps},pixel-aspect-ratio={pixel_aspect}"))
            yield buffer

    _run(pipeline, buffers())
    return path


def audio_only(path: Path) -> Path:
    """Write a file with a second of AAC and no video."""
    gst = gstreamer()
    text = f"audiotestsrc num-buffers=43 ! audioconvert ! avenc_aac ! {MUXERS[path.suffix]} ! filesink location={path}"
    _run(gst.parse_launch(text))
    return path


def turned(source: Path, target: Path, degrees: int) -> Path:
    """Copy an MP4 file and let its header say that its pictures are to be turned clockwise by 90, 180 or 270 degrees.

    The matrix of the track header, ISO/IEC 14496-12, 8.3.2: a, b, u, c, d, v, x, y, w.
    """
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    content = bytearray(source.read_bytes())
    matrix_at = content.index(b"tkhd") + 4 + 40
    unit, one = 1 << 16, 1 << 30
    values = (cosine * unit, sine * unit, 0, -sine * unit, cosine * unit, 0, 0, 0, one)
    content[matrix_at : matrix_at + 36] = struct.pack(">9i", *values)
    target.write_bytes(content)
    return target


def cut_short(source: Path, target: Path, keep: float) -> Path:
    """Write the first part, 0 to 1, of a file."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * keep)])
    return target


def _run(pipeline: Any, buffers: Iterable[Any] = ()) -> None:
    """Run a pipeline to its end, feeding its appsrc; raises AssertionError with the words of an element that fails."""
    gst = gstreamer()
    bus = pipeline.get_bus()
    appsrc = pipeline.get_by_name("in")
    pipeline.set_state(gst.State.PLAYING)
    try:
        for buffer in buffers:
            while appsrc.get_property("current-level-buffers") > 8:
                error = bus.pop_filtered(gst.MessageType.ERROR)
                assert error is None, error.parse_error()
                time.sleep(0.001)
            appsrc.emit("push-buffer", buffer)
        if appsrc is not None:
            appsrc.emit("end-of-stream")
        message = bus.timed_pop_filtered(60 * gst.SECOND, gst.MessageType.EOS | gst.MessageType.ERROR)
        assert message is not None, "the encoder hangs"
        assert message.type == gst.MessageType.EOS, message.parse_error()
    finally:
        pipeline.set_state(gst.State.NULL)


def frames_of(path: Path, first: int, count: int) -> Iterator[Array]:
    """Yield ``count`` frames of a video from number ``first`` on, uint8 [H, W, 3] BGR, as OpenCV decodes them."""
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, first)
    for _ in range(count):
        good, picture = video.read()
        assert good
        yield picture
    video.release()
