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
from contextlib import contextmanager

from ..errors import BackendError
from .deepstream_clip import ClipGraph, OpenedClip, Way, check_elements
from .deepstream_faces import FaceFinder
from .deepstream_lane import Lane
from .deepstream_pipeline import LaneSettings
from .deepstream_source import SourceSettings, source_element
from .feed import ClipFeed
from .probe import MetaReader

__all__ = ["DeepStreamGraph"]

log = logging.getLogger(__name__)


class DeepStreamGraph(ClipGraph):
    """A :class:`.deepstream_clip.ClipGraph` whose batches pyds reads.

    Parameters
    ----------
    finder, at_once, settings, ahead: see there.
    reader: reads batches, see :mod:`.probe`.
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
        check_elements("nvv4l2decoder", "nvurisrcbin")
        super().__init__(finder=finder, at_once=at_once, settings=settings, ahead=ahead)
        self._reader = reader
        self._at_once = at_once
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def enter(self, clip: OpenedClip, feed: ClipFeed) -> Iterator[Way]:
        """Let a clip in; see :class:`.deepstream_clip.ClipGraph`."""
        lane = self._lane(clip.facts.size)
        part = lane.add(
            feed,
            SourceSettings(
                uri=clip.uri,
                path=clip.path,
                flip=clip.facts.flip,
                absolute=clip.facts.absolute,
                gpu_id=self.settings.gpu_id,
                jetson=self.settings.jetson,
                by="nvurisrcbin" if clip.path is None else source_element(),
                latency_ms=clip.latency_ms,
            ),
        )
        # The lane takes it out once its feed is closed.
        yield Way(lane.size, lane.engines, part.faults)

    def close(self) -> None:
        """Stop all pipelines; a second call does nothing."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
            self._lanes.clear()
        for lane in lanes:
            lane.stop()

    def _lane(self, size: tuple[int, int]) -> Lane:
        """Return the running pipeline for a picture size, where a clip is expected now; started where there is none, for
        which idle ones of other sizes may be stopped.
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
            # While the lock is held, or another clip could stop it to make room before this one is in.
            lane.expect()
            return lane

    def _make_room(self) -> None:
        """Keep no more pipelines than clips run at once: each holds its engine's memory."""
        idle = [size for size, lane in self._lanes.items() if lane.is_idle]
        while idle and len(self._lanes) >= self._at_once:
            self._lanes.pop(idle.pop(0)).stop()
