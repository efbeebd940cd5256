"""From options to ready tools: networks, thread pools, the graph. Everything is made when it is first needed and shared by all clips."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

import cv2

from .config import CONFIGS, Options
from .faces.align import Aligner
from .faces.detect import Detector
from .faces.embed import Embedder
from .identity.builder import IdentityBuilder
from .identity.deep_sort import TrackerSettings, load_tracker_settings
from .identity.track import load_tracker
from .inference.choose import Backend, NetworkOrder, choose_backend, engines_directory, open_network
from .inference.device import cuda_device
from .inference.engine import Engine
from .inference.profiles import detector_profiles, embedder_profiles
from .models.catalogue import Catalogue, load_catalogue
from .models.entries import DetectorEntry, EmbedderEntry
from .models.places import home_directory
from .models.prepare import prepare_detector, prepare_embedder
from .running.cores import usable_cores
from .running.runner import choose_at_once
from .running.tracing import Pool, Trace
from .sources import Sources

__all__ = ["Tools", "detector_order", "embedder_order", "engines_of", "resident_bytes"]

_log = logging.getLogger(__name__)

_AUTO_LARGEST = 1280
"""Longest side in px of a detector's input where `detector_size` is 0."""


def engines_of(options: Options) -> Path:
    """Return the directory of engines."""
    return engines_directory(options.engines, home_directory())


def detector_order(entry: DetectorEntry, options: Options) -> NetworkOrder:
    """Prepare a detector and return what is asked of its engine; tuned for frames of 16:9."""
    onnx = prepare_detector(entry).onnx
    long_side = options.detector_size or _AUTO_LARGEST
    batches = {1, options.detect_batch}
    return NetworkOrder(
        entry.name, onnx, onnx, detector_profiles(batches, (long_side, long_side * 9 // 16), long_side, entry.multiple)
    )


def embedder_order(entry: EmbedderEntry, options: Options) -> NetworkOrder:
    """Prepare an embedder, for ONNX Runtime and for TensorRT, and return what is asked of its engine."""
    onnx, for_tensorrt = (prepare_embedder(entry, keep_prelu=keep).onnx for keep in (False, True))
    profiles = embedder_profiles(entry.chip_size, {1, options.embed_batch})
    return NetworkOrder(entry.name, onnx, for_tensorrt, profiles)


def resident_bytes() -> int:
    """Return how much memory this process holds, 0 where the system does not say (proc(5), statm)."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Tools:
    """The tools of a run. A context manager: leaving it frees the networks and the threads.

    May be used from several threads; the first use makes a tool. ModelError and BackendError, where a network or runtime cannot be had,
    concern every clip of the run.

    Parameters
    ----------
    options: of the run.
    cameras: how many cameras will be recorded, where any are.
    """

    def __init__(self, options: Options, *, profile: Path | None = None, cameras: int = 0) -> None:
        self.options = options
        self.threads = options.threads or usable_cores()
        """How many calls of networks run at once."""
        self._stack = ExitStack()
        self._lock = threading.RLock()
        self._pools: dict[str, Pool] = {}
        self.trace = None if profile is None else self._stack.enter_context(Trace(profile))
        """Of what every thread does, where one is wanted."""
        self._backend: Backend | None = None
        self._loads_tracker = False
        self._detector: Detector | None = None
        self._embedder: Embedder | None = None
        self._engines: dict[str, Engine] = {}
        self.sources = Sources(self, self._stack, cameras=cameras)
        """Opens clips."""

    # What the options name. Cheap: nothing is fetched or loaded.

    @cached_property
    def catalogue(self) -> Catalogue:
        """The networks that can be asked for."""
        file = self.options.models_file
        return load_catalogue(Path(file) if file else None)

    @cached_property
    def detector_entry(self) -> DetectorEntry:
        """The detector that was asked for."""
        name = self.options.detector
        return self.catalogue.detector(name) if name else self.catalogue.pack(self.options.pack)[0]

    @cached_property
    def embedder_entry(self) -> EmbedderEntry:
        """The embedder that was asked for."""
        name = self.options.embedder
        return self.catalogue.embedder(name) if name else self.catalogue.pack(self.options.pack)[1]

    @cached_property
    def tracker_settings(self) -> TrackerSettings:
        """The deep_sort settings: the user's file over the program's own."""
        base = load_tracker_settings(CONFIGS / "deep_sort.yaml")
        file = self.options.deepsort
        return load_tracker_settings(Path(file), base) if file else base

    @property
    def similarities(self) -> tuple[float, float]:
        """Cosine from which two faces are one person, in everyday use and on the safe side."""
        entry, wanted = self.embedder_entry, self.options.similarity_threshold
        if wanted is None:
            return entry.similarity, entry.similarity_strict
        # The safe side keeps its distance, as far as cosines go.
        gap = entry.similarity_strict - entry.similarity
        return wanted, min(wanted + gap, (wanted + 1) / 2)

    @property
    def backend_choice(self) -> Backend:
        """What runs the networks, in which precision, and why."""
        options = self.options
        with self._lock:
            if self._backend is None:
                choice = self._backend = choose_backend(
                    options.backend,
                    options.precision,
                    engines_of(options),
                    lambda: (
                        detector_order(self.detector_entry, options),
                        embedder_order(self.embedder_entry, options),
                    ),
                )
                _log.info("networks run on %s in %s: %s", choice.name, choice.precision, choice.why)
            return self._backend

    @property
    def backend(self) -> str:
        """What runs the networks."""
        return self.backend_choice.name

    @property
    def engines_directory(self) -> Path:
        """Directory of engines."""
        return engines_of(self.options)

    @property
    def clips_at_once(self) -> int:
        """How many clips are in work at a time; with less clips than that, and one by one on a cluster, it is the most."""
        return choose_at_once(self.options.clips_at_once, usable_cores())

    @property
    def detect_batch(self) -> int:
        """Frames per call of the detector."""
        return self.options.detect_batch if self.backend == "tensorrt" else 1

    # What does the work. The first use loads it.

    @property
    def detector(self) -> Detector:
        """The detector, loaded."""
        with self._lock:
            if self._detector is None:
                spec, options = prepare_detector(self.detector_entry), self.options
                self._detector = Detector(
                    self._engine(detector_order(self.detector_entry, options)),
                    spec,
                    long_side=options.detector_size,
                    close_up_size=options.close_up_size,
                    score_threshold=options.score_threshold,
                    nms_iou=options.nms_iou,
                    min_face_px=options.min_face_px,
                )
            return self._detector

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded."""
        with self._lock:
            if self._embedder is None:
                spec = prepare_embedder(self.embedder_entry)
                engine = self._engine(embedder_order(self.embedder_entry, self.options))
                self._embedder = Embedder(engine, spec, batch=self.options.embed_batch)
            return self._embedder

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """The detector's and the embedder's, loaded."""
        _ = self.detector, self.embedder
        return self._engines[self.detector_entry.name], self._engines[self.embedder_entry.name]

    @cached_property
    def aligner(self) -> Aligner:
        """Cuts the chips that the embedder sees."""
        return Aligner(self.embedder_entry.template, self.embedder_entry.chip_size)

    @cached_property
    def network_pool(self) -> Pool:
        """Threads that prepare inputs and run networks, one call each."""
        # Each of these threads keeps a core busy; OpenCV's own would take the cores from the networks.
        cv2.setNumThreads(1)
        return self._pool("network", self.threads)

    @property
    def picture_pool(self) -> Pool:
        """Threads that encode, write and read pictures."""
        return self._pool("picture", max(2, self.threads))

    def _pool(self, name: str, threads: int) -> Pool:
        with self._lock:
            if name not in self._pools:
                self._pools[name] = self._stack.enter_context(Pool(threads, name, self.trace))
            return self._pools[name]

    def gauges(self) -> dict[str, float]:
        """Return what can be measured of the work right now, by name: tasks in each pool's queue, and this process's memory, bytes."""
        values = {f"queue_{name}": float(pool.pending) for name, pool in list(self._pools.items())}
        values["memory_bytes"] = float(resident_bytes())
        if self._backend is not None and self._backend.name == "tensorrt":
            device = cuda_device()
            with device.active():
                values["gpu_memory_bytes"] = float(device.total_bytes - device.free_bytes())
        return values

    def load_tracker_ahead(self) -> None:
        """Begin to load the tracker, if nobody has: beside the networks, whose loading leaves the interpreter free.

        It takes more than a second, for which the first frame would wait.
        """
        with self._lock:
            if not self._loads_tracker:
                self._loads_tracker = True
                threading.Thread(target=load_tracker, name="load tracker", daemon=True).start()

    def identity(self) -> IdentityBuilder:
        """Return a new builder of one clip's tracks and people."""
        similarity, strict = self.similarities
        return IdentityBuilder(self.tracker_settings, similarity, strict)

    def _engine(self, order: NetworkOrder) -> Engine:
        engine = open_network(order, self.backend_choice, engines_of(self.options))
        self._engines[order.model] = self._stack.enter_context(engine)
        return engine

    def __enter__(self) -> Tools:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
