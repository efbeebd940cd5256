"""A clip on its way through DeepStream, as its consumer sees it; the same for both of DeepStream's Python APIs.

A :class:`ClipGraph` lets clips in and knows what finds faces; how a clip's frames come into its feed is what
:mod:`.deepstream` (pyds) and :mod:`.servicemaker` (pyservicemaker) are about.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ..errors import BackendError, DecodeError
from ..types import Clip, Frame
from .camera import camera_error, without_password
from .containers import Layout, checked_layout, resized, size_of
from .deepstream_faces import FaceFinder, frame_of
from .deepstream_pipeline import LaneSettings
from .elements import has_element
from .feed import ClipFeed, Raw
from .nvinfer_config import DetectorEngine
from .pixel_aspect import check_square
from .video_facts import VideoFacts, look_into, look_into_camera

__all__ = ["ClipGraph", "DeepStreamSource", "OpenedClip", "Way", "check_elements"]

_ELEMENTS = ("nvstreammux", "nvvideoconvert", "nvinfer")


def check_elements(*sources: str) -> None:
    """Raise BackendError where DeepStream's elements are not on this machine: all of the graph's, one of ``sources``."""
    missing = [name for name in _ELEMENTS if not has_element(name)]
    if not any(has_element(name) for name in sources):
        missing.append(sources[0])
    if missing:
        raise BackendError(
            "DeepStream is not installed on this machine",
            asked=", ".join(_ELEMENTS),
            found=f"without {', '.join(missing)}",
            remedy="Use the DeepStream image (docs/deepstream.md), or --graph software.",
        )


@dataclass(frozen=True, slots=True)
class OpenedClip:
    """A video or camera, and what is known of it before it is decoded."""

    uri: str
    where: object
    """It, for messages."""
    path: Path | None
    """The file; None for a camera."""
    layout: Layout
    facts: VideoFacts
    latency_ms: int = 0
    """Of a camera's jitter buffer."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a clip's frames come through."""

    mux: tuple[int, int]
    """Width and height of the mux, px."""
    engines: Mapping[int, DetectorEngine]
    """The networks by the ids under which frames carry their outputs."""
    faults: Callable[[], list[str]]
    """Says, once the clip has been decoded to its end, what was found wrong with it."""


G = TypeVar("G", bound="ClipGraph")


class ClipGraph(ABC):
    """Decodes and detects on the GPU. A context manager: leaving it stops all pipelines.

    Parameters
    ----------
    finder: what finds faces; None to decode only, the frames then come without. Its ``engines_for`` may raise
        EngineError.
    at_once: most clips in work. Further ones wait until one has ended.
    settings: of the pipelines.
    ahead: most frames of one clip between its decoder and its consumer; at least two batches, or the decoder waits.

    May be used from several threads; every open clip needs a thread of its own that takes its frames.
    """

    def __init__(self, *, finder: FaceFinder | None, at_once: int, settings: LaneSettings, ahead: int) -> None:
        self.finder = finder
        self.settings = settings
        self.ahead = max(ahead, 2 * settings.batch)
        self.places = threading.BoundedSemaphore(at_once)

    def open(self, clip: Clip) -> DeepStreamSource:
        """Return the source of a clip's frames, with their faces. The clip enters the graph when the first frame is
        asked for.
        """
        return DeepStreamSource(self, clip)

    def camera(self, uri: str, *, latency_ms: int) -> Generator[Frame, None, None]:
        """Yield a camera's frames with their faces until it ends; ``pts_s`` counts from the beginning of the connection.

        Frames that are not taken in time are dropped, and their numbers are missing. Raises as :class:`DeepStreamSource`.
        """
        facts = look_into_camera(uri, stall_timeout_s=self.settings.stall_timeout_s, latency_ms=latency_ms)
        where = without_password(uri)
        with self.places:
            feed = ClipFeed(where, self.ahead, live=True)
            try:
                with self.enter(OpenedClip(uri, where, None, Layout(), facts, latency_ms), feed) as way:
                    try:
                        while (raw := feed.take()) is not None:
                            yield self.frame_of(raw, way)
                    finally:
                        feed.close()
            except DecodeError as error:
                raise camera_error(error) from error

    def frame_of(self, raw: Raw, way: Way) -> Frame:
        """Return the frame, with its faces, of what came out of the graph."""
        frame = frame_of(raw, way.mux)
        return frame if self.finder is None else self.finder.find(frame, raw, way.mux, way.engines)

    @abstractmethod
    def enter(self, clip: OpenedClip, feed: ClipFeed) -> AbstractContextManager[Way]:
        """Let a clip in: until the context is left, its frames come into ``feed``, which is closed before that."""

    @abstractmethod
    def close(self) -> None:
        """Stop all pipelines."""

    def __enter__(self: G) -> G:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DeepStreamSource:
    """The frames of one clip, with their faces; a :class:`~facesearch_trt.types.FrameSource`.

    Frames come in presentation order in the clip's own size, upright, as those of the software graph. Iterating
    raises DecodeError for a clip of which nothing can be decoded, StallError for a decoder that hangs, and
    BackendError or EngineError where the graph itself fails, which concerns all clips. Where decoding breaks off
    later, the frames end there and ``damage`` says why.
    """

    graph = "deepstream"

    def __init__(self, graph: ClipGraph, clip: Clip) -> None:
        if clip.source is None:
            raise DecodeError("its video is not at hand", where=clip.name, remedy="Put the video beside its results.")
        self.damage: str | None = None
        self.finds_faces = graph.finder is not None
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
        size, layout = size_of(self._path), checked_layout(self._path)
        facts = look_into(self._path, stall_timeout_s=graph.settings.stall_timeout_s)
        check_square(facts.caps, self._path)
        with graph.places:
            feed = self._feed = ClipFeed(self._path, graph.ahead)
            opened = OpenedClip(self._path.absolute().as_uri(), self._path, self._path, layout, facts)
            with graph.enter(opened, feed) as way:
                try:
                    yield from self._frames(feed, way, layout, size)
                finally:
                    feed.close()

    def _frames(self, feed: ClipFeed, way: Way, layout: Layout, size: int) -> Iterator[Frame]:
        count, faults = 0, []
        try:
            while (raw := feed.take()) is not None:
                yield self._graph.frame_of(raw, way)
                count += 1
            faults = way.faults()
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
        self.damage = "; ".join(faults + resized(self._path, size)) or None
