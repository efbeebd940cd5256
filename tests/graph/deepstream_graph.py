"""A DeepStream graph on the double, put together as the program does it, and its detector on the software graph."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx

from facesearch_trt.config import CONFIGS
from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.detect import Detector, with_chips
from facesearch_trt.faces.embed import Embedder, embed
from facesearch_trt.graph.deepstream import DeepStreamGraph
from facesearch_trt.graph.deepstream_bindings import choose_bindings
from facesearch_trt.graph.deepstream_clip import ClipGraph
from facesearch_trt.graph.deepstream_faces import CutFaces, EnginesFor, FaceFinder, ReadFaces
from facesearch_trt.graph.deepstream_pipeline import LaneSettings
from facesearch_trt.graph.nvinfer_config import DetectorEngine
from facesearch_trt.graph.placement import Look
from facesearch_trt.graph.probe import PydsReader
from facesearch_trt.graph.servicemaker import ServiceMakerGraph
from facesearch_trt.graph.software import SoftwareSource
from facesearch_trt.identity.builder import IdentityBuilder
from facesearch_trt.identity.deep_sort import load_tracker_settings
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.types import Array, Clip, DetectorSpec, EmbedderSpec, FaceBatch, Frame
from tests.doubles.deepstream import bindings
from tests.doubles.deepstream.infer import write_engine

ALIGNER = Aligner("arcface", 112)


def yunet(models: Path, *, long_side: int = 320, close_up_size: int = 0) -> Detector:
    """Return the YuNet detector on ONNX Runtime."""
    onnx = models / "yunet_n.onnx"
    spec = DetectorSpec("yunet", onnx, "yunet", "bgr", (0.0, 0.0, 0.0), 1.0, 32, 0.6)
    return Detector(
        OnnxRuntimeEngine(onnx),
        spec,
        long_side=long_side,
        close_up_size=close_up_size,
        score_threshold=None,
        nms_iou=0.3,
        min_face_px=12.0,
    )


def arcface(models: Path) -> Embedder:
    """Return the ArcFace embedder on ONNX Runtime."""
    onnx = models / "mobilefacenet_arcface_y1.onnx"
    # (x - 127.5) / 128 is inside the graph.
    spec = EmbedderSpec("y1", onnx, "arcface", 112, "rgb", (0.0, 0.0, 0.0), 1.0, 128)
    return Embedder(_Remembering(OnnxRuntimeEngine(onnx)), spec, batch=32)


class _Remembering:
    """A network that is not asked twice for the same: equal chips of two graphs cost half."""

    def __init__(self, engine: OnnxRuntimeEngine) -> None:
        self._engine = engine
        self._known: dict[bytes, dict[str, Array]] = {}
        self.inputs, self.outputs, self.max_batch = engine.inputs, engine.outputs, engine.max_batch

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        key = b"".join(hashlib.sha256(array).digest() for array in feeds.values())
        if key not in self._known:
            self._known[key] = self._engine.infer(feeds)
        return self._known[key]


def face_ids(frames: Sequence[Frame], embedder: Embedder) -> Array:
    """Return who is who of a clip's frames, which carry chips."""
    settings = load_tracker_settings(CONFIGS / "deep_sort.yaml")
    builder = IdentityBuilder(settings, 0.35, 0.40)
    with ThreadPoolExecutor(1) as executor:
        for frame in embed(iter(frames), embedder, executor, ahead=1):
            builder.add(frame)
    return builder.finish().face_ids


def copied(pointer: int, count: int) -> Array:
    """Copy the double's device memory."""
    content: Array = bindings.bytes_at(pointer, count).copy()
    return content


@dataclass
class Tuning:
    """What tests change of a graph."""

    batch: int = 3
    at_once: int = 3
    engine_batch: int = 8
    jetson: bool = False
    download: Callable[[int, int], Any] | None = copied
    stall_timeout_s: float = 20.0
    ahead: int = 8
    every: int = 1
    lanes: list[tuple[int, int]] = field(default_factory=list)
    """Filled with the frame sizes that engines were asked for."""


@contextmanager
def graph_of(
    engines_for: EnginesFor, read_faces: ReadFaces, cut_faces: CutFaces, tuning: Tuning
) -> Iterator[ClipGraph]:
    """Give a graph on the double, of the Python API that is installed there."""
    settings = LaneSettings(
        batch=tuning.batch,
        push_timeout_us=5000,
        stall_timeout_s=tuning.stall_timeout_s,
        gpu_id=0,
        jetson=tuning.jetson,
        live=False,
    )
    finder = FaceFinder(engines_for, read_faces, cut_faces, tuning.every)
    graph: ClipGraph
    if choose_bindings().name == "pyservicemaker":
        graph = ServiceMakerGraph(
            finder=finder,
            download=tuning.download,
            at_once=tuning.at_once,
            settings=settings,
            ahead=tuning.ahead,
        )
    else:
        graph = DeepStreamGraph(
            finder=finder,
            reader=PydsReader(jetson=tuning.jetson, download=tuning.download),
            at_once=tuning.at_once,
            settings=settings,
            ahead=tuning.ahead,
        )
    with graph:
        yield graph


def engine_of(
    detector: Detector, size: tuple[int, int], directory: Path, *, max_batch: int, outputs: Sequence[str] | None = None
) -> DetectorEngine:
    """Return a detector as an engine of one input size, its file written for the double."""
    spec = detector.spec
    path = directory / f"{spec.name}-{size[0]}x{size[1]}.engine"
    return DetectorEngine(
        engine=write_engine(path, spec.onnx, *size, max_batch),
        max_batch=max_batch,
        width=size[0],
        height=size[1],
        outputs=tuple(outputs or detector.outputs),
        colour=spec.colour,
        mean=spec.mean,
        std=spec.std,
        precision="fp32",
    )


@contextmanager
def deepstream_graph(detector: Detector, directory: Path, tuning: Tuning) -> Iterator[ClipGraph]:
    """Give a graph on the double whose nvinfers are this detector, put together as the program does it."""

    def engines_for(width: int, height: int) -> Sequence[DetectorEngine]:
        tuning.lanes.append((width, height))
        looks = detector.letterboxes(width, height)
        sizes = [(look.net_width, look.net_height) for look in looks]
        return [engine_of(detector, size, directory, max_batch=tuning.engine_batch) for size in sizes]

    read = cast("ReadFaces", detector.faces_from_outputs)
    with graph_of(engines_for, read, lambda faces, image: with_chips(faces, image, ALIGNER), tuning) as graph:
        yield graph


class Mean:
    """A network whose output is its input's mean per channel: it tells which picture it was shown, and how."""

    def __init__(self, directory: Path, *, net: tuple[int, int] = (128, 96), max_batch: int = 8) -> None:
        self.directory = directory
        self.net = net
        self.max_batch = max_batch
        self.said: list[tuple[int, Array]] = []
        """Of each frame its width and what the network said of it."""
        self.onnx = directory / "mean.onnx"
        node = onnx.helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0)
        shapes = ("input", ["b", 3, "h", "w"]), ("mean", ["b", 3])
        values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes]
        graph = onnx.helper.make_graph([node], "mean", values[:1], values[1:])
        opset = [onnx.helper.make_opsetid("", 13)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), self.onnx)

    def engine(self, **changes: Any) -> DetectorEngine:
        """Return it as an engine."""
        values: dict[str, Any] = {
            "engine": write_engine(self.directory / "mean.engine", self.onnx, *self.net, self.max_batch),
            "max_batch": self.max_batch,
            "width": self.net[0],
            "height": self.net[1],
            "outputs": ("mean",),
            "colour": "rgb",
            "mean": (0.0, 0.0, 0.0),
            "std": 1.0,
            "precision": "fp32",
        }
        return DetectorEngine(**{**values, **changes})

    @contextmanager
    def graph(self, tuning: Tuning, engine: DetectorEngine | None = None) -> Iterator[ClipGraph]:
        """Give a graph that finds no faces."""

        def read(looks: Sequence[Look], width: int, height: int) -> FaceBatch:
            self.said.append((width, looks[0].outputs["mean"][0]))
            return FaceBatch.empty()

        def engines_for(width: int, height: int) -> Sequence[DetectorEngine]:
            tuning.lanes.append((width, height))
            return [engine or self.engine()]

        with graph_of(engines_for, read, lambda faces, image: faces, tuning) as graph:
            yield graph


@dataclass
class Result:
    """What came of one clip."""

    frames: list[Frame] = field(default_factory=list)
    damage: str | None = None
    error: Exception | None = None


def taken(
    graph: ClipGraph, clips: Sequence[Clip], each: Callable[[Clip, Frame], None] | None = None
) -> dict[str, Result]:
    """Take all clips at once, each in a thread of its own; of the frames, the pictures are not kept beyond ``each``."""
    results = {clip.name: Result() for clip in clips}

    def work(clip: Clip) -> None:
        result = results[clip.name]
        try:
            with graph.open(clip) as source:
                for frame in source:
                    if each is not None:
                        each(clip, frame)
                    frame.image = None
                    result.frames.append(frame)
                result.damage = source.damage
        except Exception as error:
            result.error = error

    threads = [threading.Thread(target=work, args=(clip,), name=clip.name, daemon=True) for clip in clips]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(80)
    assert not any(thread.is_alive() for thread in threads), "a clip hangs"
    return results


def by_software(clip: Clip, detector: Detector, each: Callable[[Frame], None] | None = None) -> list[Frame]:
    """Return a clip's frames with faces, by the software graph; their pictures go to ``each`` alone."""
    frames = []
    with SoftwareSource(clip, stall_timeout_s=20.0) as source:
        for frame in source:
            (faces,) = detector.detect([frame.image])
            made = frame.with_faces(with_chips(faces, frame.image, ALIGNER))
            if each is not None:
                each(made)
            made.image = None
            frames.append(made)
    return frames


def agree(found: Frame, wanted: Frame) -> None:
    """Check that two frames are one, with the same faces."""
    assert (found.frame_num, found.width, found.height) == (wanted.frame_num, wanted.width, wanted.height)
    assert found.pts_s == wanted.pts_s
    assert len(found.faces) == len(wanted.faces), f"frame {found.frame_num}"
    if len(found.faces):
        assert np.abs(found.faces.boxes - wanted.faces.boxes).max() <= 1.0
        assert np.abs(found.faces.landmarks - wanted.faces.landmarks).max() <= 1.0
        difference = found.faces.chips.astype(int) - wanted.faces.chips
        assert np.abs(difference).mean() < 1
