"""Looks at a clip without decoding it: how long it is, for progress and for the order of work."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DecodeError
from ..types import Clip
from .autoplug import Autoplug
from .containers import layout_of
from .gst import Graph, codec_name, gstreamer, launch
from .inputs import is_image

__all__ = ["ClipInfo", "probe"]


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a clip says of itself; it may be wrong, decoding alone tells."""

    duration_s: float | None
    """Of the container, its sound included; None for images and where it does not say."""
    frames_expected: int | None
    """Listed in the container's index, or duration times frame rate; None where neither is known."""
    width: int
    """Of the coded pictures, px, before they are turned upright; 0 where unknown, as for images."""
    height: int
    codec: str
    """What a user would call it, ``H.264 (High Profile)``; ``images`` for a folder."""


def probe(clip: Clip, *, stall_timeout_s: float) -> ClipInfo:
    """Return what a clip says of itself, without decoding it.

    Raises DecodeError where it is no video or cannot be read, and StallError where it does not answer in time.
    """
    if clip.source is None:
        raise DecodeError("its video is not at hand", where=clip.name, remedy="Put the video beside its results.")
    try:
        if clip.kind == "images":
            with os.scandir(clip.source) as entries:
                return ClipInfo(None, sum(is_image(entry.name) for entry in entries), 0, 0, "images")
        listed = layout_of(clip.source).frames
    except OSError as error:
        raise DecodeError("cannot be read", where=clip.source, found=error.strerror) from error
    return _probe_video(clip.source, listed, stall_timeout_s)


def _probe_video(path: Path, listed: int | None, stall_timeout_s: float) -> ClipInfo:
    gst = gstreamer()
    pipeline = launch(
        "identity name=coded ! appsink name=sink sync=false async=false enable-last-sample=false max-buffers=1"
    )
    sink = pipeline.get_by_name("sink")
    graph = Graph(pipeline, where=path, stall_timeout_s=stall_timeout_s)
    # Where a decoder would stand, coded frames pass on to the sink, and the first tells all.
    plug = Autoplug(
        pipeline,
        path,
        decoder_for=lambda _: gst.ElementFactory.make("identity"),
        after=pipeline.get_by_name("coded"),
        fail=graph.fail,
    )
    with graph, contextlib.closing(plug):
        try:
            sample = graph.pull(sink, hopeless=lambda: plug.linked_caps is None)
        except DecodeError as error:
            raise plug.no_video() or error from error
        if sample is None:
            raise plug.no_video() or DecodeError("holds no frames", where=path)
        return _info(sample.get_caps(), graph.duration_s(), listed)


def _info(caps: Any, duration_s: float | None, listed: int | None) -> ClipInfo:
    structure = caps.get_structure(0)
    has_rate, numerator, denominator = structure.get_fraction("framerate")
    frames = listed
    if frames is None and duration_s is not None and has_rate and numerator:
        frames = round(duration_s * numerator / denominator)
    sides = [structure.get_value(name) if structure.has_field(name) else 0 for name in ("width", "height")]
    return ClipInfo(duration_s, frames, sides[0], sides[1], codec_name(caps))
