"""Decodes one video file with plain GStreamer: what the graphs that do so have in common.

One pipeline per clip: ``filesrc ! typefind ! demuxer ! parser ! decoder ! queue ! … ! appsink``. :mod:`.autoplug` finds container and
codec. Which element decodes, what stands between the queue and the appsink, and what becomes of a decoded picture is for the graph to
say: :mod:`.software`, :mod:`.nvcodec`.
"""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..errors import DecodeError
from ..types import Clip, Frame
from .autoplug import Autoplug
from .buffers import following_pts_s, pts_s_of
from .coded import CodedStream
from .colours import complete_colours
from .containers import Layout, checked_layout, resized, size_of
from .gst import Graph, gstreamer, launch

__all__ = ["AHEAD", "ClipSource", "Decoded", "Taken"]

log = logging.getLogger(__name__)
P = TypeVar("P")
S = TypeVar("S", bound="ClipSource[Any]")

AHEAD = 4
"""Frames that GStreamer decodes ahead, in the queue before and in the appsink after the conversion each."""
_SHORT_S = 1.0
"""By how much a video may be shorter than its container declares and still be whole."""


@dataclass(frozen=True, slots=True)
class Taken(Generic[P]):
    """A decoded picture on its way to a frame."""

    frame_num: int
    pts_s: float
    picture: P


class ClipSource(ABC, Generic[P]):
    """The frames of one video; a :class:`~facesearch_trt.types.FrameSource`.

    Parameters
    ----------
    clip: a video clip whose ``source`` is at hand.
    stall_timeout_s: seconds without a frame after which the clip is given up.

    Frames come in presentation order, all that the container shows, none dropped or repeated, turned upright where
    the container says how. Each is a read-only uint8 [H, W, 3] BGR array of its own in the coded size, or larger where
    pixels that are not square become so; interlacing stays as it is, and sizes may change in mid-stream. ``pts_s`` is the container's
    presentation time (edit lists applied); a frame without one, or with one that does not come after the frame
    before, gets that frame's time plus the frame duration that the stream declares (0.04 s where it declares none).

    Iterating raises DecodeError for a file of which nothing can be decoded and StallError for a decoder that hangs.
    A fault of the file does not end it: the decoder goes on with the next frame that it can decode, and ``damage`` says
    afterwards how many are lost or marked as broken, what GStreamer warned of, and whether the file was cut off.
    """

    graph = ""
    finds_faces = False

    def __init__(self, clip: Clip, *, stall_timeout_s: float) -> None:
        if clip.source is None:
            raise DecodeError("its video is not at hand", where=clip.name, remedy="Put the video beside its results.")
        self.damage: str | None = None
        self._clip = clip
        self._path: Path = clip.source
        self._stall_timeout_s = stall_timeout_s
        self._graph: Graph | None = None
        self._plug: Autoplug | None = None

    @abstractmethod
    def _conversion(self) -> str:
        """Return what stands between the queue behind the decoder and the appsink, in gst-launch's language."""

    @abstractmethod
    def _decoder_for(self, caps: Any) -> Any:
        """Return a new decoder for a stream's caps. Raises DecodeError where there is none."""

    @abstractmethod
    def _take(self, sample: Any, orientation: str) -> P:
        """Return a sample's picture, which the stream's tags say is turned; what is not in it is free for the next one."""

    @abstractmethod
    def _frames(self, taken: Iterator[Taken[P]]) -> Iterator[Frame]:
        """Yield the frames of the pictures; where ``taken`` raises, those of all that came before."""

    def _prepare(self, pipeline: Any) -> None:
        """Set up a pipeline before it is started."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._plug is not None:
            self._plug.close()
        if self._graph is not None:
            self._graph.stop()
        self._plug = self._graph = None

    def __iter__(self) -> Iterator[Frame]:
        path = self._path
        size, layout = size_of(path), checked_layout(path)
        pipeline = launch(
            f"queue name=decoded max-size-buffers={AHEAD} max-size-bytes=0 max-size-time=0 ! {self._conversion()}"
            f" ! appsink name=sink sync=false async=false qos=false enable-last-sample=false drop=false max-buffers={AHEAD}"
        )
        self._prepare(pipeline)
        complete_colours(pipeline.get_by_name("decoded").get_static_pad("sink"))
        graph = self._graph = Graph(pipeline, where=path, stall_timeout_s=self._stall_timeout_s)
        coded = CodedStream()
        plug = self._plug = Autoplug(
            pipeline,
            path,
            decoder_for=lambda caps: coded.before(self._decoder_for(caps)),
            after=pipeline.get_by_name("decoded"),
            fail=graph.fail,
        )
        self.damage = None
        decoded = Decoded()
        try:
            # Closed in the opposite order: nothing is linked any more while the graph stops.
            with graph, contextlib.closing(plug):
                try:
                    yield from self._frames(self._taken(graph, plug, coded, pipeline.get_by_name("sink"), decoded))
                except DecodeError as error:
                    if not decoded.count:
                        no_video = plug.no_video()
                        if no_video is None:
                            raise
                        raise no_video from error
                    decoded.broke_off = str(error.found or error.what)
                decoded.declared_s = _declared_s(graph, plug)
        finally:
            coded.close()
            # The plug asks this object for a decoder: a cycle, and the pipeline's files would wait for the collector.
            self._plug = self._graph = None
        if not decoded.count:
            raise plug.no_video() or DecodeError(
                "no frame of it can be decoded",
                where=path,
                found="; ".join(graph.warnings) or None,
                remedy="Check that it plays elsewhere.",
            )
        if plug.further:
            log.warning("%s: of its videos the first is used, not %s", path, ", ".join(plug.further))
        self.damage = _damage(decoded, coded, layout, [*resized(path, size), *graph.warnings], plug)

    def _taken(
        self, graph: Graph, plug: Autoplug, coded: CodedStream, sink: Any, decoded: Decoded
    ) -> Iterator[Taken[P]]:
        pts_s: float | None = None
        while (sample := graph.pull(sink, hopeless=lambda: plug.linked_caps is None)) is not None:
            picture = self._take(sample, coded.orientation)
            duration_s = decoded.note(sample)
            pts_s = following_pts_s(pts_s_of(sample, absolute=plug.absolute), pts_s, duration_s)
            # The sample holds the buffer, which the converter could use for its next frame.
            del sample
            frame_num = decoded.count
            decoded.count += 1
            decoded.end_s = max(decoded.end_s, pts_s + duration_s)
            taken = Taken(frame_num, pts_s, picture)
            del picture
            yield taken
            del taken


@dataclass(slots=True)
class Decoded:
    """What came out of a decoder."""

    count: int = 0
    corrupt: int = 0
    """Frames that the decoder itself marked as broken."""
    interlaced: bool = False
    end_s: float = 0.0
    """When the last frame's time is over."""
    declared_s: float | None = None
    """When the container says that its video ends, where it says so."""
    broke_off: str = ""
    """The error that ended the decoding."""

    def note(self, sample: Any) -> float:
        """Note what is odd about a decoded sample; return its declared duration in seconds."""
        gst = gstreamer()
        buffer, structure = sample.get_buffer(), sample.get_caps().get_structure(0)
        self.corrupt += bool(buffer.get_flags() & gst.BufferFlags.CORRUPTED)
        self.interlaced = self.interlaced or structure.get_value("interlace-mode") not in (None, "progressive")
        return float(buffer.duration / gst.SECOND) if buffer.duration != gst.CLOCK_TIME_NONE else 0.04


def _declared_s(graph: Graph, plug: Autoplug) -> float | None:
    """Return the container's length, None where it need not be the video's.

    A transport stream's is an estimate, and sound may go on for longer than the pictures.
    """
    return graph.duration_s() if plug.container in ("avi", "matroska") and not plug.others else None


def _damage(decoded: Decoded, coded: CodedStream, layout: Layout, warnings: list[str], plug: Autoplug) -> str | None:
    """Return what a decoded clip lacks, None where it is whole."""
    found = []
    if decoded.broke_off:
        found.append(f"decoding broke off after {decoded.count} frames ({decoded.broke_off})")
    if layout.missing_bytes:
        found.append(f"the file ends {layout.missing_bytes:,} bytes early; {decoded.count} frames could be decoded")
    # Of interlaced video two coded fields may make one frame.
    lost = 0 if decoded.interlaced or decoded.broke_off else coded.expected - decoded.count
    if decoded.declared_s is not None and not found and decoded.declared_s - decoded.end_s > _SHORT_S:
        found.append(f"its video ends at {decoded.end_s:.1f} s, where {decoded.declared_s:.1f} s are declared")
    found.extend(f"a further video in it, {codec}, is not decoded" for codec in plug.later)
    if lost > 0:
        found.append(f"{lost} of {coded.expected} frames could not be decoded")
    if decoded.corrupt:
        found.append(f"{decoded.corrupt} frames are decoded with errors")
    found.extend(warnings)
    return "; ".join(found) or None
