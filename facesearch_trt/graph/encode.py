"""Writes pictures as an H.264 video in an MP4 file, which any player and browser shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, StoreError
from ..types import Array
from .gst import Graph, gstreamer

__all__ = ["write_timed_video", "write_video"]

_ENCODERS = {
    "x264enc": "speed-preset=veryfast bitrate={kbit} key-int-max=50",
    "openh264enc": "bitrate={bit} gop-size=50 complexity=low",
}
"""Encoders that run on the CPU, the best first, with their settings."""
_HARDWARE = {
    "nvh264enc": "bitrate={kbit} gop-size=50",
    "vah264enc": "bitrate={kbit} key-int-max=50",
}
"""Encoders that GStreamer offers only where there is a device for them."""
_BITS_PER_PIXEL = 0.12
"""Of a second of video: 640x360 at 25 frames/s gets about 0.7 Mbit/s."""


def write_video(path: Path, pictures: Iterable[Array], fps: Fraction | int, *, stall_timeout_s: float = 60.0) -> None:
    """Write pictures, uint8 [H, W, 3] BGR of one size with even sides, as ``path``; it appears when it is complete.

    Raises BackendError where no H.264 encoder is there, StoreError where the file cannot be written or there is no picture.
    """
    rate = Fraction(fps)
    timed = ((picture, float(index / rate)) for index, picture in enumerate(pictures))
    write_timed_video(path, timed, rate, stall_timeout_s=stall_timeout_s)


def write_timed_video(
    path: Path,
    pictures: Iterable[tuple[Array, float]],
    fps: Fraction | float,
    *,
    hardware: bool = False,
    stall_timeout_s: float = 60.0,
) -> None:
    """Write pictures, uint8 [H, W, 3] BGR of one size with even sides, each with its time in seconds, rising, as ``path``.

    ``fps`` is their mean rate; with ``hardware`` a device encodes where there is one. Raises as :func:`write_video` does.
    """
    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        raise StoreError("there is no picture to make a video of", where=path)
    height, width = first[0].shape[:2]
    rate = Fraction(fps).limit_denominator(1001)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    gst = gstreamer()
    pipeline = gst.parse_launch(
        f"appsrc name=source format=time block=true max-buffers=4 is-live=false "
        f"caps=video/x-raw,format=BGR,width={width},height={height},framerate={rate.numerator}/{rate.denominator} "
        f"! videoconvert ! {_encoder(width, height, rate, hardware=hardware)} ! h264parse"
        " ! mp4mux faststart=false ! filesink name=file"
    )
    pipeline.get_by_name("file").set_property("location", str(partial))
    source = pipeline.get_by_name("source")
    try:
        with Graph(pipeline, where=path, stall_timeout_s=stall_timeout_s) as graph:
            start_s = min(0.0, first[1])
            for picture, pts_s in chain([first], pictures):
                _push(source, picture, pts_s - start_s, rate)
            source.end_of_stream()
            graph.finish()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _push(source: Any, picture: Array, pts_s: float, rate: Fraction) -> None:
    gst = gstreamer()
    # GStreamer wants rows whose length is a multiple of four bytes.
    row = picture.shape[1] * 3
    padded = np.pad(picture.reshape(picture.shape[0], row), ((0, 0), (0, -row % 4)))
    buffer = gst.Buffer.new_wrapped(padded.tobytes())
    buffer.pts = round(pts_s * gst.SECOND)
    buffer.duration = int(gst.SECOND / rate)
    if source.push_buffer(buffer) != gst.FlowReturn.OK:
        raise StoreError("the encoder takes no more pictures")


def _encoder(width: int, height: int, rate: Fraction, *, hardware: bool) -> str:
    gst = gstreamer()
    bit = int(width * height * rate * _BITS_PER_PIXEL)
    for name, settings in {**(_HARDWARE if hardware else {}), **_ENCODERS}.items():
        if gst.ElementFactory.find(name) is not None:
            return f"{name} {settings.format(bit=bit, kbit=max(1, bit // 1000))}"
    raise BackendError(
        "cannot write a video: there is no H.264 encoder",
        asked=" or ".join(_ENCODERS),
        remedy="Install it: apt-get install gstreamer1.0-plugins-bad.",
    )
