"""What a run tells a Prometheus server that asks for it. The only module that imports prometheus_client."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import OptionError, UsageError, pip_install
from ..running.runner import Outcome
from ..store.clip import ClipStore
from ..types import Clip
from .progress import LineWatcher, TerminalWatcher

__all__ = ["MeasuredWatcher", "Metrics"]

_EVERY_S = 2.0
_GAUGES = {
    "memory_bytes": ("facesearch_memory_bytes", "Memory of the process that does the work"),
    "gpu_memory_bytes": ("facesearch_gpu_memory_bytes", "Memory in use on the GPU, by all processes"),
}


class Metrics:
    """The numbers of one run, served on a port of all interfaces; a context manager that stops it.

    Raises UsageError where prometheus_client is not installed, OptionError where the port cannot be had.
    """

    def __init__(self, port: int) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise UsageError(
                "--metrics-port needs prometheus_client",
                remedy=f"Install it: {pip_install('facesearch_trt[metrics]')}",
            ) from error
        self._closed = threading.Event()
        registry = prometheus.CollectorRegistry()
        self._clips = prometheus.Counter(
            "facesearch_clips", "Clips by what became of them", ["state"], registry=registry
        )
        self._frames = prometheus.Counter("facesearch_frames", "Frames through the whole chain", registry=registry)
        self._faces = prometheus.Counter("facesearch_faces", "Faces through the whole chain", registry=registry)
        self._seconds = prometheus.Counter(
            "facesearch_stage_seconds", "Time that clips' chains waited for a stage", ["stage"], registry=registry
        )
        self._at_work = prometheus.Gauge("facesearch_clips_at_work", "Clips in work", registry=registry)
        self._left = prometheus.Gauge("facesearch_clips_left", "Clips that are not finished yet", registry=registry)
        self._queue = prometheus.Gauge(
            "facesearch_queue_depth",
            "Tasks that wait for a pool of threads or are in work there",
            ["pool"],
            registry=registry,
        )
        # Made when first known: where there is no GPU nothing is said of its memory.
        self._new_gauge: Callable[..., Any] = functools.partial(prometheus.Gauge, registry=registry)
        self._gauges: dict[str, Any] = {}
        try:
            self._server, _ = prometheus.start_http_server(port, registry=registry)
        except OSError as error:
            raise OptionError(
                "cannot serve metrics",
                where="--metrics-port",
                asked=port,
                found=error.strerror,
                remedy="Take another port.",
            ) from error
        self.port: int = self._server.server_port

    def clips_left(self, count: int) -> None:
        """Say how many clips there are to do."""
        self._left.set(count)

    def gauges(self, values: dict[str, float]) -> None:
        """Take what :meth:`facesearch_trt.wiring.Tools.gauges` measured."""
        for name, value in values.items():
            if name.startswith("queue_"):
                self._queue.labels(name.removeprefix("queue_")).set(value)
            elif name in _GAUGES:
                if name not in self._gauges:
                    self._gauges[name] = self._new_gauge(*_GAUGES[name])
                self._gauges[name].set(value)

    def measure(self, source: Callable[[], dict[str, float]]) -> None:
        """Ask for :meth:`gauges` every few seconds from now on."""

        def ask() -> None:
            while not self._closed.wait(_EVERY_S):
                self.gauges(source())

        threading.Thread(target=ask, name="metrics", daemon=True).start()

    def advanced(self, frames: int, faces: int) -> None:
        """Count frames and faces."""
        self._frames.inc(frames)
        self._faces.inc(faces)

    def at_work(self, count: int) -> None:
        """Say how many clips are in work."""
        self._at_work.set(count)

    def finished(self, outcome: Outcome) -> None:
        """Count a clip, and the seconds of its stages where it was done now."""
        self._clips.labels(outcome.state).inc()
        self._left.dec()
        record = ClipStore(outcome.clip.output).record() if outcome.seconds and outcome.state != "failed" else None
        for stage, seconds in (record.seconds if record is not None else {}).items():
            self._seconds.labels(stage).inc(max(0.0, seconds))

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


class MeasuredWatcher:
    """A watcher that counts what it passes on to another."""

    def __init__(self, watcher: LineWatcher | TerminalWatcher, metrics: Metrics) -> None:
        self._watcher, self._metrics = watcher, metrics
        self._at_work: set[str] = set()

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        """Pass it on."""
        self._at_work.add(clip.name)
        self._metrics.at_work(len(self._at_work))
        self._watcher.started(clip, frames_expected)

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        """Count and pass it on."""
        self._metrics.advanced(frames, faces)
        self._watcher.advanced(clip, frames, faces)

    def finished(self, outcome: Outcome) -> None:
        """Count and pass it on."""
        self._at_work.discard(outcome.clip.name)
        self._metrics.at_work(len(self._at_work))
        self._metrics.finished(outcome)
        self._watcher.finished(outcome)

    def __enter__(self) -> MeasuredWatcher:
        self._watcher.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.__exit__(kind, error, trace)
