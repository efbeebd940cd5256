"""Writes pictures as an H.264 video in an MP4 file, which any player and browser shows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, DecodeError, StallError, StoreError
from ..types import Array
from .gst import Graph, gstreamer, launch

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
_AHEAD = 4
"""Pictures that wait for the encoder."""
_BITS_PER_PIXEL = 0.12
"""Of a second of video: 640x360 at 25 frames/s gets about 0.7 Mbit/s."""


def write_video(path: Path, pictures: Iterable[Array], fps: Fraction | int, *, stall_timeout_s: float = 60.0) -> None:
    """Write pictures, uint8 [H, W, 3] BGR of one size with even sides, as ``path``; it appears when it is complete.

    Raises BackendError where there is no H.264 encoder or GStreamer lacks something else, StoreError where the file
    cannot be written or there is no picture.
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
    pipeline = launch(
        f"appsrc name=source format=time max-buffers={_AHEAD} is-live=false "
        f"caps=video/x-raw,format=BGR,width={width},height={height},framerate={rate.numerator}/{rate.denominator} "
        f"! videoconvert ! {_encoder(width, height, rate, hardware=hardware)} ! h264parse"
        " ! mp4mux faststart=false ! filesink name=file"
    )
    pipeline.get_by_name("file").set_property("location", str(partial))
    source = pipeline.get_by_name("source")
    try:
        with ExitStack() as stack:
            with _storing(path):
                graph = stack.enter_context(Graph(pipeline, where=path, stall_timeout_s=stall_timeout_s))
            start_s = min(0.0, first[1])
            for picture, pts_s in chain([first], pictures):
                with _storing(path):
                    _push(graph, source, picture, pts_s - start_s, rate)
            with _storing(path):
                source.end_of_stream()
                graph.finish()
        with _storing(path):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    """Turn what stops a graph that writes into a StoreError."""
    try:
        yield
    except (DecodeError, StallError, OSError) as error:
        stalled = isinstance(error, StallError)
        found = (
            error.strerror if isinstance(error, OSError) else "no progress of the encoder" if stalled else error.found
        )
        remedy = "Free disk space if there is none left, and check that its directory can be written."
        raise StoreError("the video cannot be written", where=path, found=found, remedy=remedy) from error


def _push(graph: Graph, source: Any, picture: Array, pts_s: float, rate: Fraction) -> None:
    gst = gstreamer()
    # GStreamer wants rows whose length is a multiple of four bytes.
    row = picture.shape[1] * 3
    rows = picture.reshape(picture.shape[0], row)
    if row % 4:
        rows = np.pad(rows, ((0, 0), (0, -row % 4)))
    buffer = gst.Buffer.new_wrapped(rows.tobytes())
    buffer.pts = round(pts_s * gst.SECOND)
    buffer.duration = int(gst.SECOND / rate)
    # An appsrc that blocks where it is full is not woken by an error behind it.
    graph.wait(lambda timeout_s: _has_room(source, timeout_s) or None, lambda: False)
    if source.push_buffer(buffer) != gst.FlowReturn.OK:
        graph.finish()
        raise StoreError("the encoder takes no more pictures")


def _has_room(source: Any, timeout_s: float) -> bool:
    end_s = time.monotonic() + timeout_s
    while source.get_property("current-level-buffers") >= _AHEAD:
        if time.monotonic() > end_s:
            return False
        time.sleep(0.002)
    return True


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
