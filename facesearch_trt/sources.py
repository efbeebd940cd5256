"""Where a clip's frames come from: which graph decodes on this machine, and which for this clip."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Protocol

from .config import Options
from .deepstream_tools import deepstream_graph, deepstream_problem, engines_for
from .errors import BackendError, ClipError, DecodeError, EngineError, FaceSearchError, InputError, StallError
from .faces.align import Aligner
from .faces.detect import Detector
from .faces.embed import Embedder
from .graph import deepstream_source, nvcodec
from .graph.deepstream_clip import ClipGraph
from .graph.images import ImageSource
from .graph.nvcodec import NvcodecSource
from .graph.nvdec import form_of
from .graph.pixel_aspect import check_square
from .graph.software import SoftwareSource
from .graph.video_facts import look_into
from .inference.engine import Engine
from .models.entries import DetectorEntry
from .nvcodec_tools import FacesOnDevice, PictureReader, nvcodec_context, nvcodec_problem, picture_reader
from .types import Clip, FrameSource

__all__ = ["Networks", "Sources"]

_log = logging.getLogger(__name__)
_NAMES = {"deepstream": "DeepStream", "nvcodec": "NVDEC"}


class Networks(Protocol):
    """What a graph on the GPU needs beside itself; loaded when it is first asked for."""

    @property
    def options(self) -> Options:
        """Of the run."""

    @property
    def backend(self) -> str:
        """What runs the networks."""

    @property
    def clips_at_once(self) -> int:
        """Most clips in work."""

    @property
    def detector_entry(self) -> DetectorEntry:
        """The detector that was asked for."""

    @property
    def detector(self) -> Detector:
        """The same, ready to run."""

    @property
    def embedder(self) -> Embedder:
        """The embedder."""

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """The detector's and the embedder's."""

    @property
    def engines_directory(self) -> Path:
        """Directory of engines."""

    @property
    def aligner(self) -> Aligner:
        """Cuts the chips that the embedder sees."""

    @property
    def network_pool(self) -> Executor:
        """Threads that run networks."""


class Sources:
    """Opens clips. May be used from several threads.

    Parameters
    ----------
    networks: of the run.
    stack: what is held until the run ends is put on it.
    cameras: how many cameras will be recorded, where any are.
    """

    def __init__(self, networks: Networks, stack: ExitStack, *, cameras: int) -> None:
        self._networks = networks
        self._options = networks.options
        self._stack = stack
        self._cameras = cameras
        self._lock = threading.RLock()
        self._deepstreams: dict[bool, ClipGraph] = {}
        self._readers: dict[bool, PictureReader] = {}
        self._camera_graph: ClipGraph | None = None

    @cached_property
    def graph(self) -> str:
        """What decodes videos. Raises BackendError where it was asked for and is not there."""
        wanted = self._options.graph
        if wanted == "software":
            return wanted
        looks: dict[str, Callable[[], BackendError | None]] = {
            "deepstream": deepstream_problem,
            "nvcodec": nvcodec_problem,
        }
        problems = {name: look() for name, look in looks.items() if wanted in (name, "auto")}
        if wanted != "auto":
            problem = problems[wanted]
            if problem is not None:
                raise problem
            return wanted
        usable = [name for name, problem in problems.items() if problem is None]
        backend = self._networks.backend
        if usable and backend == "tensorrt":
            chosen, why = usable[0], "it is there, and the networks run on TensorRT"
        else:
            chosen = "software"
            why = f"networks run on {backend}" if usable else "; ".join(map(str, problems.values()))
        _log.info("videos are decoded by the %s graph: %s", chosen, why)
        return chosen

    def open(self, clip: Clip, *, detect: bool) -> FrameSource:
        """Return the source of a clip's frames; where ``detect`` is set and the graph can, with their faces.

        Raises InputError where only its results are at hand.
        """
        if clip.source is None:
            raise InputError(
                "the clip itself is not here, only its results", where=clip.output, remedy="Give the clip."
            )
        if clip.kind == "images":
            return ImageSource(clip)
        graph = self.graph
        # What was asked for is never replaced: opening says what is missing.
        if graph != "software" and self._options.graph == "auto":
            try:
                problem = self._clip_problem(graph, clip.source, detect=detect)
            except StallError:
                raise
            except ClipError:
                # No matter of the GPU's. The software graph says what is wrong with the file.
                graph = "software"
            else:
                if problem is not None:
                    _log.warning(
                        "%s: decoded by the software graph although there is %s: %s", clip.name, _NAMES[graph], problem
                    )
                    graph = "software"
        if graph == "deepstream":
            return self._deepstream(detect).open(clip)
        if graph == "nvcodec":
            return self._nvcodec(clip, detect=detect)
        return SoftwareSource(clip, stall_timeout_s=self._options.stall_timeout_s)

    def _clip_problem(self, graph: str, path: Path, *, detect: bool) -> FaceSearchError | None:
        """Return why a graph on the GPU cannot do a video, None where it can. Raises ClipError for one that cannot be read."""
        facts = look_into(path, stall_timeout_s=self._options.stall_timeout_s)
        try:
            check_square(facts.caps, path)
            decodes = deepstream_source.decodes if graph == "deepstream" else nvcodec.decodes
            if not decodes(facts.caps):
                kind = ", ".join(filter(None, (facts.codec, form_of(facts.caps))))
                raise DecodeError("the GPU has no decoder for it", where=path, found=kind)
            if graph == "deepstream" and detect:
                networks = self._networks
                engines_for(
                    networks.detector_entry,
                    networks.detector,
                    self._options,
                    networks.engines_directory,
                    networks.clips_at_once,
                    *facts.size,
                )
        except (ClipError, EngineError) as error:
            return error
        return None

    @property
    def camera_graph(self) -> ClipGraph:
        """The DeepStream graph of the cameras, running."""
        with self._lock:
            if self._camera_graph is None:
                self._camera_graph = self._deepstream_graph(self._networks.detector, self._cameras, live=True)
            return self._camera_graph

    def _deepstream(self, detect: bool) -> ClipGraph:
        networks = self._networks
        with self._lock:
            if detect not in self._deepstreams:
                detector = networks.detector if detect else None
                self._deepstreams[detect] = self._deepstream_graph(detector, networks.clips_at_once, live=False)
            return self._deepstreams[detect]

    def _deepstream_graph(self, detector: Detector | None, at_once: int, *, live: bool) -> ClipGraph:
        networks = self._networks
        return self._stack.enter_context(
            deepstream_graph(
                networks.detector_entry,
                detector,
                networks.aligner,
                self._options,
                networks.engines_directory,
                at_once=at_once,
                live=live,
            )
        )

    def _nvcodec(self, clip: Clip, *, detect: bool) -> NvcodecSource:
        networks = self._networks
        # Networks on the CPU find the faces later, as in the software graph.
        on_device = detect and networks.backend == "tensorrt"
        with self._lock:
            if on_device not in self._readers:
                faces = None
                if on_device:
                    faces = FacesOnDevice(networks.detector, networks.embedder, networks.engines, networks.aligner)
                self._readers[on_device] = self._stack.enter_context(picture_reader(faces, networks.engines_directory))
        return NvcodecSource(
            clip,
            stall_timeout_s=self._options.stall_timeout_s,
            context=nvcodec_context(),
            read=self._readers[on_device],
            executor=networks.network_pool,
            batch=self._options.detect_batch,
            every=self._options.every,
            finds_faces=on_device,
        )
