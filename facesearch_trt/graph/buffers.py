"""Reads GStreamer's buffers and events where PyGObject would copy or cannot: their bytes, their times, their segments."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import DecodeError
from ..types import Array
from .gst import gstreamer

__all__ = ["MapInfo", "core_library", "exchange_event", "following_pts_s", "mapped", "open_end", "pts_s_of"]

_LATER_S = 0.0005
"""By how much a frame is shown later than the one before at the least: half of Matroska's resolution. Sums of frame
durations are inexact by nanoseconds."""


def pts_s_of(sample: Any, *, absolute: bool = False) -> float | None:
    """Return a sample's presentation time in its container, seconds; None where it carries none.

    A buffer's own time stamp is on the decoder's time line. The segment that comes with it maps it to the container's:
    it holds the edit list of an MP4 file and the start of a stream that does not begin at 0. ``absolute`` is for
    containers whose time stamps are presentation times as they are (:attr:`.autoplug.Autoplug.absolute`).
    """
    gst = gstreamer()
    buffer = sample.get_buffer()
    if buffer.pts == gst.CLOCK_TIME_NONE:
        return None
    time_ns = buffer.pts if absolute else sample.get_segment().to_stream_time(gst.Format.TIME, buffer.pts)
    return None if time_ns == gst.CLOCK_TIME_NONE else float(time_ns / gst.SECOND)


def following_pts_s(found_s: float | None, last_s: float | None, duration_s: float) -> float:
    """Return when a frame is shown, seconds: at ``found_s``, if that is known and after ``last_s``, the frame before (None
    for the first); otherwise ``duration_s`` after that frame.

    AVI tells times in the order of decoding alone, so that a key frame behind B-frames comes with a time too early.
    """
    if last_s is None:
        return 0.0 if found_s is None else found_s
    return last_s + duration_s if found_s is None or found_s - last_s < _LATER_S else found_s


class MapInfo(ctypes.Structure):
    """GstMapInfo of gst/gstmemory.h, unchanged over all of GStreamer 1."""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    )


@functools.cache
def core_library() -> ctypes.CDLL:
    """Return GStreamer's own library with the types of what is used of it; the hash of a PyGObject is its address."""
    library = ctypes.CDLL("libgstreamer-1.0.so.0")
    library.gst_buffer_map.argtypes = (ctypes.c_void_p, ctypes.POINTER(MapInfo), ctypes.c_int)
    library.gst_buffer_map.restype = ctypes.c_int
    library.gst_buffer_unmap.argtypes = (ctypes.c_void_p, ctypes.POINTER(MapInfo))
    library.gst_buffer_unmap.restype = None
    library.gst_event_parse_segment.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.POINTER(_Segment)))
    library.gst_event_parse_segment.restype = None
    library.gst_element_set_context.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.gst_element_set_context.restype = None
    for name in ("gst_mini_object_unref", "gst_object_unref"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
        getattr(library, name).restype = None
    library.gst_mini_object_ref.argtypes = (ctypes.c_void_p,)
    library.gst_mini_object_ref.restype = ctypes.c_void_p
    return library


@contextmanager
def mapped(buffer: Any) -> Iterator[Array]:
    """Give a buffer's bytes as uint8 [size], read-only and without a copy, valid inside the ``with`` only.

    PyGObject copies a whole buffer whenever its bytes are read, so the C function is called instead. The hash of a
    PyGObject structure is its address, on which NVIDIA's DeepStream bindings rely too.
    """
    info = MapInfo()
    address = hash(buffer)
    if not core_library().gst_buffer_map(address, ctypes.byref(info), int(gstreamer().MapFlags.READ)):
        raise DecodeError("cannot read a decoded frame")
    try:
        content = np.frombuffer((ctypes.c_uint8 * info.size).from_address(info.data or 0), np.uint8)
        content.flags.writeable = False
        yield content
    finally:
        core_library().gst_buffer_unmap(address, ctypes.byref(info))


class _Segment(ctypes.Structure):
    """GstSegment of gst/gstsegment.h, unchanged over all of GStreamer 1, as far as it is used."""

    _fields_ = (
        ("flags", ctypes.c_int),
        ("rate", ctypes.c_double),
        ("applied_rate", ctypes.c_double),
        ("format", ctypes.c_int),
        ("base", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("start", ctypes.c_uint64),
        ("stop", ctypes.c_uint64),
    )


def open_end(event: Any) -> None:
    """Let the segment that a SEGMENT event announces have no end, so that nothing clips the last frames.

    For a pad probe, on its way to the first element that reads it. PyGObject gives a copy of the segment, so the event
    itself is written through the C library.
    """
    segment = ctypes.POINTER(_Segment)()
    core_library().gst_event_parse_segment(hash(event), ctypes.byref(segment))
    segment.contents.stop = gstreamer().CLOCK_TIME_NONE


class _ProbeInfo(ctypes.Structure):
    """GstPadProbeInfo of gst/gstpad.h, unchanged over all of GStreamer 1, as far as it is used."""

    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_ulong), ("data", ctypes.c_void_p))


def exchange_event(info: Any, event: Any) -> None:
    """Let another event go on in the place of the one that a pad probe sees, as GStreamer allows but PyGObject cannot.

    ``info`` is what the probe was called with.
    """
    library = core_library()
    seen = _ProbeInfo.from_address(hash(info))
    before, seen.data = seen.data, library.gst_mini_object_ref(hash(event))
    library.gst_mini_object_unref(before)
