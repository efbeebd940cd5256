"""Clips through NVIDIA's DeepStream: decoded and looked at by the detector on the GPU, several at once in shared
batches.

A :class:`DeepStreamGraph` holds one pipeline (a lane) per picture size that is in work. Whoever works on a clip opens
it here and takes its frames, which come with their faces; clips of one size that are open at the same time share
batches, and the next one that is opened enters when one has ended. The graph decodes, scales and runs the detector;
reading the network's outputs, cutting faces and all that follows runs in the consumer's own thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from types import TracebackType

from ..errors import BackendError, DecodeError
from ..types import Clip, Frame
from .containers import Layout, checked_layout
from .deepstream_faces import FaceFinder, frame_of
from .deepstream_lane import Lane, LaneSettings
from .deepstream_source import SourceBin, SourceSettings, source_element
from .elements import has_element
from .feed import ClipFeed
from .probe import MetaReader
from .video_facts import look_into

__all__ = ["DeepStreamGraph", "DeepStreamSource", "check_elements"]

log = logging.getLogger(__name__)

_ELEMENTS = ("nvstreammux", "nvvideoconvert", "nvinfer")


def check_elements() -> None:
    """Raise BackendError where DeepStream's elements are not on this machine."""
    missing = [name for name in _ELEMENTS if not has_element(name)]
    if not has_element("nvv4l2decoder") and not has_element("nvurisrcbin"):
        missing.append("nvv4l2decoder")
    if missing:
        raise BackendError(
            "DeepStream is not installed on this machine",
            asked=", ".join(_ELEMENTS),
            found=f"without {', '.join(missing)}",
            remedy="Use the DeepStream image (docs/deepstream.md), or --graph software.",
        )


class DeepStreamGraph:
    """Decodes and detects on the GPU. A context manager: leaving it stops all pipelines.

    Parameters
    ----------
    finder: what finds faces; None to decode only, the frames then come without. Its ``engines_for`` may raise
        EngineError.
    reader: reads batches, see :mod:`.probe`.
    at_once: most clips in work. Further ones wait until one has ended.
    settings: of the pipelines.
    ahead: most frames of one clip between its decoder and its consumer; at least two batches, or the decoder waits.

    May be used from several threads; every open clip needs a thread of its own that takes its frames.
    """

    def __init__(
        self,
        *,
        finder: FaceFinder | None,
        reader: MetaReader,
        at_once: int,
        settings: LaneSettings,
        ahead: int,
    ) -> None:
        check_elements()
        self.settings = settings
        self.ahead = max(ahead, 2 * settings.batch)
        self.places = threading.BoundedSemaphore(at_once)
        self.finder = finder
        self._reader = reader
        self._at_once = at_once
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._lock = threading.Lock()
        self._closed = False

    def open(self, clip: Clip) -> DeepStreamSource:
        """Return the source of a clip's frames, with their faces. The clip enters the graph when the first frame is
        asked for.
        """
        return DeepStreamSource(self, clip, finds_faces=self.finder is not None)

    def lane(self, size: tuple[int, int]) -> Lane:
        """Return the running pipeline for a picture size; started where there is none. Idle ones of other sizes may be
        stopped
        for it.
        """
        with self._lock:
            if self._closed:
                raise BackendError("the DeepStream graph was stopped")
            lane = self._lanes.get(size)
            if lane is not None and lane.has_failed:
                del self._lanes[size]
                lane.stop()
                lane = None
            if lane is None:
                self._make_room()
                engines = () if self.finder is None else self.finder.engines_for(*size)
                lane = self._lanes[size] = Lane(size, engines, self.settings, self._reader)
                log.info("DeepStream: pipeline for %dx%d, batch %d", *size, self.settings.batch)
            return lane

    def _make_room(self) -> None:
        """Keep no more pipelines than clips run at once: each holds its engine's memory."""
        idle = [size for size, lane in self._lanes.items() if lane.is_idle]
        while idle and len(self._lanes) >= self._at_once:
            self._lanes.pop(idle.pop(0)).stop()

    def __enter__(self) -> DeepStreamGraph:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
            self._lanes.clear()
        for lane in lanes:
            lane.stop()


class DeepStreamSource:
    """The frames of one clip, with their faces; a :class:`~facesearch_trt.types.FrameSource`.

    Frames come in presentation order in the clip's own size, upright, as those of the software graph. Iterating
    raises DecodeError for a clip of which nothing can be decoded, StallError for a decoder that hangs, and
    BackendError or EngineError where the graph itself fails, which concerns all clips. Where decoding breaks off
    later, the frames end there and ``damage`` says why.
    """

    graph = "deepstream"

    def __init__(self, graph: DeepStreamGraph, clip: Clip, *, finds_faces: bool) -> None:
        if clip.source is None:
            raise DecodeError("its video is not at hand", where=clip.name, remedy="Put the video beside its results.")
        self.damage: str | None = None
        self.finds_faces = finds_faces
        self._graph = graph
        self._path = clip.source
        self._feed: ClipFeed | None = None

    def __enter__(self) -> DeepStreamSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._feed is not None:
            self._feed.close()

    def __iter__(self) -> Iterator[Frame]:
        graph = self._graph
        self.damage = None
        layout = checked_layout(self._path)
        facts = look_into(self._path, stall_timeout_s=graph.settings.stall_timeout_s)
        with graph.places:
            lane = graph.lane(facts.size)
            feed = self._feed = ClipFeed(self._path, graph.ahead)
            part = lane.add(
                feed,
                SourceSettings(
                    uri=self._path.absolute().as_uri(),
                    path=self._path,
                    flip=facts.flip,
                    absolute=facts.absolute,
                    gpu_id=graph.settings.gpu_id,
                    jetson=graph.settings.jetson,
                    by=source_element(),
                    reconnect_s=0,
                    latency_ms=0,
                ),
            )
            try:
                yield from self._frames(feed, lane, part, layout)
            finally:
                feed.close()

    def _frames(self, feed: ClipFeed, lane: Lane, part: SourceBin, layout: Layout) -> Iterator[Frame]:
        finder = self._graph.finder
        count, faults = 0, []
        try:
            while (raw := feed.take()) is not None:
                frame = frame_of(raw, lane.size)
                yield frame if finder is None else finder.find(frame, raw, lane.size, lane.engines)
                count += 1
            faults = part.faults()
        except DecodeError as error:
            if not count:
                raise
            faults.append(f"decoding broke off after {count} frames ({error.found or error.what})")
        if not count:
            raise DecodeError(
                "no frame of it can be decoded",
                where=self._path,
                found="; ".join(faults) or None,
                remedy="Check that it plays elsewhere, or use --graph software.",
            )
        if layout.missing_bytes:
            faults.append(f"the file ends {layout.missing_bytes:,} bytes early; {count} frames could be decoded")
        self.damage = "; ".join(faults) or None
