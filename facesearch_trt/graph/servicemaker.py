"""Clips through DeepStream with pyservicemaker, which takes pyds's place from DeepStream 9 on. The only module that
imports it.

pyservicemaker builds and runs its pipelines itself, and tells neither the end nor an error of one of several sources.
So each clip gets a pipeline of its own, whose batches are filled with frames of that clip; several run side by side.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import BackendError
from .deepstream_clip import ClipGraph, OpenedClip, Way, check_elements
from .deepstream_faces import FaceFinder
from .deepstream_pipeline import LaneSettings
from .feed import ClipFeed
from .probe import Download
from .servicemaker_clip import ClipPipeline

__all__ = ["ServiceMakerGraph", "load_service_maker"]

log = logging.getLogger(__name__)

_NAMES = ("Pipeline", "Probe", "BatchMetadataOperator", "BufferOperator")
"""What is used of the module."""


def load_service_maker() -> Any:
    """Return the module pyservicemaker. Raises BackendError where it is missing, does not load, or is too old."""
    try:
        import pyservicemaker
    except ImportError as error:
        raise BackendError(
            "DeepStream's Service Maker for Python is not installed",
            asked="pyservicemaker",
            found=error,
            remedy=(
                "For DeepStream 8.0 and newer install the wheel that it brings:"
                " pip install /opt/nvidia/deepstream/deepstream/service-maker/python/*.whl."
            ),
        ) from error
    missing = [name for name in _NAMES if not hasattr(pyservicemaker, name)]
    if missing:
        raise BackendError(
            "the installed package pyservicemaker is not that of DeepStream 8.0 or newer",
            asked=", ".join(_NAMES),
            found=f"without {', '.join(missing)} in {getattr(pyservicemaker, '__file__', None)}",
            remedy="Install the wheel of the installed DeepStream; docs/deepstream.md says how.",
        )
    return pyservicemaker


class ServiceMakerGraph(ClipGraph):
    """A :class:`.deepstream_clip.ClipGraph` of pyservicemaker: one pipeline per clip.

    Parameters
    ----------
    finder, at_once, settings, ahead: see there.
    download: copies device memory; None where the CPU can read the surfaces.
    """

    def __init__(
        self,
        *,
        finder: FaceFinder | None,
        download: Download | None,
        at_once: int,
        settings: LaneSettings,
        ahead: int,
    ) -> None:
        check_elements("nvurisrcbin")
        super().__init__(finder=finder, at_once=at_once, settings=settings, ahead=ahead)
        self._module = load_service_maker()
        self._download = download
        self._running: set[ClipPipeline] = set()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def enter(self, clip: OpenedClip, feed: ClipFeed) -> Iterator[Way]:
        """Let a clip in; see :class:`.deepstream_clip.ClipGraph`."""
        size = clip.facts.size
        with self._lock:
            engines = dict(enumerate(() if self.finder is None else self.finder.engines_for(*size), 1))
        pipeline = ClipPipeline(self._module, clip, feed, engines, self.settings, self._download)
        with self._lock:
            if self._closed:
                raise BackendError("the DeepStream graph was stopped")
            self._running.add(pipeline)
        log.info("DeepStream: pipeline for %s, %dx%d, batch %d", clip.where, *size, self.settings.batch)
        try:
            pipeline.start()
            yield Way(size, engines, pipeline.faults)
        finally:
            with self._lock:
                self._running.discard(pipeline)
            pipeline.stop()

    def close(self) -> None:
        """Stop all pipelines; a second call does nothing."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for pipeline in running:
            pipeline.fail(BackendError("the DeepStream graph was stopped"))
            pipeline.stop()
