"""The DeepStream graph of a run: which engines its nvinfers load, and how faces are read and cut from what comes out.

nvinfer takes one input size per engine, so there is an engine per size at which the detector looks at frames; ``facesearch build --clips``
makes those that a directory of clips needs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, cast

from .config import Options
from .errors import BackendError
from .faces.align import Aligner
from .faces.detect import Detector, with_chips
from .graph.deepstream import DeepStreamGraph
from .graph.deepstream_bindings import choose_bindings
from .graph.deepstream_clip import ClipGraph
from .graph.deepstream_faces import FaceFinder, ReadFaces
from .graph.deepstream_pipeline import LaneSettings
from .graph.elements import is_jetson
from .graph.nvinfer_config import DetectorEngine
from .graph.probe import PydsReader
from .graph.servicemaker import ServiceMakerGraph
from .graph.video_facts import look_into
from .inference.build import this_machine
from .inference.cache import EngineKey, find
from .inference.choose import NetworkOrder
from .inference.device import cuda_device
from .inference.files import file_sha256
from .inference.host_copies import HostCopies
from .inference.profiles import Profile
from .models.entries import DetectorEntry
from .models.prepare import prepare_detector
from .types import Clip

__all__ = [
    "deepstream_graph",
    "deepstream_problem",
    "engines_for",
    "graph_precision",
    "nvinfer_orders",
    "picture_sizes",
]

_log = logging.getLogger(__name__)

_GPU = 0
_PUSH_TIMEOUT_US = 40_000
"""A batch that is not full, at the end of the last clips, goes on after one frame of 25 a second."""
_OWN_PUSH_TIMEOUT_US = 4_000
"""The same where a batch is filled from one clip only: nvstreammux then waits this long for every batch of more than one."""
_AHEAD = 32
"""Most frames of one clip between its decoder and the rest of the chain, as many as the software graph has in work on four cores."""


def deepstream_problem() -> BackendError | None:
    """Return why DeepStream cannot be used on this machine, None where it can."""
    try:
        choose_bindings()
    except BackendError as error:
        return error
    return None


def graph_precision(options: Options) -> str:
    """Return in which numbers the detector computes inside the graph, whatever runs the other networks."""
    return "fp16" if options.precision == "auto" else options.precision


def nvinfer_orders(
    entry: DetectorEntry, detector: Detector, sizes: Iterable[tuple[int, int]], batch: int
) -> list[NetworkOrder]:
    """Return the engines of one input size each with which the graph looks at pictures of these sizes.

    Parameters
    ----------
    entry, detector: the detector, and the same ready to run.
    sizes: width and height of pictures, px.
    batch: most frames at once.
    """
    onnx = prepare_detector(entry).onnx
    looks = [look for width, height in sorted(set(sizes)) for look in detector.letterboxes(width, height)]
    shapes = dict.fromkeys((3, look.net_height, look.net_width) for look in looks)
    profiles = [Profile((1, *shape), (batch, *shape), (batch, *shape)) for shape in shapes]
    return [NetworkOrder(entry.name, onnx, onnx, (profile,)) for profile in profiles]


def picture_sizes(clips: Iterable[Clip], *, stall_timeout_s: float) -> dict[str, tuple[int, int]]:
    """Return width and height, px, of the upright pictures of each video by its clip's name. Raises DecodeError, StallError."""
    return {
        clip.name: look_into(clip.source, stall_timeout_s=stall_timeout_s).size
        for clip in clips
        if clip.kind == "video" and clip.source is not None
    }


@contextmanager
def deepstream_graph(
    entry: DetectorEntry,
    detector: Detector | None,
    aligner: Aligner,
    options: Options,
    engines: Path,
    *,
    at_once: int,
    live: bool,
) -> Iterator[ClipGraph]:
    """Give the graph for a while.

    Parameters
    ----------
    entry, detector: the detector, and the same ready to run: the graph runs engines of its own, of which this one reads the outputs.
        None to decode only.
    aligner: cuts the chips.
    engines: directory of engines.
    at_once: clips in work at a time, which is the batch too.
    live: whether the clips are cameras. Then faces are found in all frames: which of them count is known later.

    Raises BackendError where DeepStream or its bindings are missing, EngineError without a GPU.
    """

    finder = None
    if detector is not None:
        finder = FaceFinder(
            partial(engines_for, entry, detector, options, engines, at_once),
            cast("ReadFaces", detector.faces_from_outputs),
            partial(with_chips, aligner=aligner),
            1 if live else options.every,
        )
    bindings = choose_bindings()
    _log.info("DeepStream is read with %s: %s", bindings.name, bindings.why)
    jetson, own_pipelines = is_jetson(), bindings.name == "pyservicemaker"
    settings = LaneSettings(
        batch=at_once,
        push_timeout_us=_OWN_PUSH_TIMEOUT_US if own_pipelines else _PUSH_TIMEOUT_US,
        stall_timeout_s=options.stall_timeout_s,
        gpu_id=_GPU,
        jetson=jetson,
        live=live,
    )
    with ExitStack() as stack:
        # What pyds gives of a Jetson's surfaces is mapped; all else may lie on the device and is fetched.
        copies = None
        if own_pipelines or not jetson:
            copies = stack.enter_context(closing(HostCopies(cuda_device(_GPU))))
        graph: ClipGraph
        if own_pipelines:
            graph = ServiceMakerGraph(finder=finder, download=copies, at_once=at_once, settings=settings, ahead=_AHEAD)
        else:
            reader = PydsReader(jetson=jetson, download=copies)
            graph = DeepStreamGraph(finder=finder, reader=reader, at_once=at_once, settings=settings, ahead=_AHEAD)
        yield stack.enter_context(graph)


def engines_for(
    entry: DetectorEntry, detector: Detector, options: Options, engines: Path, at_once: int, width: int, height: int
) -> Sequence[DetectorEngine]:
    """Return the engines with which the graph looks at pictures of this size, px.

    Parameters
    ----------
    entry, detector, options, engines, at_once: see :func:`deepstream_graph`.

    Raises EngineError where one is not there.
    """
    orders = nvinfer_orders(entry, detector, [(width, height)], at_once)
    return [_engine(order, detector, options, engines) for order in orders]


def _engine(order: NetworkOrder, detector: Detector, options: Options, directory: Path) -> DetectorEngine:
    (profile,) = order.profiles
    batch, _, height, width = profile.maximum
    wanted = EngineKey(
        order.model,
        file_sha256(order.onnx_for_tensorrt),
        graph_precision(options),
        order.profiles,
        this_machine(cuda_device(_GPU)),
    )
    found = find(
        directory,
        wanted,
        one_size=True,
        remedy="Run: python build_engines.py --clips ROOT, with the directory of clips and the options of this run.",
    )
    spec = detector.spec
    return DetectorEngine(
        engine=found.path,
        max_batch=max(found.key.max_batch, batch),
        width=width,
        height=height,
        outputs=detector.outputs,
        colour=spec.colour,
        mean=spec.mean,
        std=spec.std,
        precision=cast("Literal['fp32', 'fp16', 'int8']", found.key.precision),
    )
