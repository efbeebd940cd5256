"""nvinfer's configuration file, rendered from typed values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal

from ..config import CONFIGS
from ..errors import EngineError

__all__ = ["TEMPLATE", "DetectorEngine", "NvInferSettings", "check_outputs", "graph_error", "write_config"]

TEMPLATE = CONFIGS / "deepstream" / "detector.txt"
"""The file that :meth:`NvInferSettings.render` fills in."""

_PRECISIONS = {"fp32": 0, "int8": 1, "fp16": 2}
_COLOURS = {"rgb": 0, "bgr": 1}


@dataclass(frozen=True, slots=True)
class DetectorEngine:
    """A detector as a TensorRT engine of one input size, and how to feed it."""

    engine: Path
    """The engine file."""
    max_batch: int
    """Most frames that the engine takes at once."""
    width: int
    """Of the network's input, px."""
    height: int
    outputs: tuple[str, ...]
    """Names of its outputs in the order in which the decoder reads them."""
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    """Subtracted from the 0..255 pixel, in the network's own channel order."""
    std: float
    """Divides the result."""
    precision: Literal["fp32", "fp16", "int8"]

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.max_batch) < 1 or not self.outputs:
            raise ValueError(f"an engine needs a size, a batch and outputs, got {self}")
        if not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"std must be above 0, got {self.std}")


@dataclass(frozen=True, slots=True)
class NvInferSettings:
    """What one nvinfer of a graph is told."""

    detector: DetectorEngine
    batch: int
    """Frames per batch, as many as the mux puts together."""
    unique_id: int
    """Tells the tensors of several nvinfers of one graph apart, from 1."""
    gpu_id: int

    def check(self) -> None:
        """Raise EngineError where the engine is missing or takes fewer frames than a batch has."""
        engine = self.detector.engine
        if not engine.is_file():
            raise EngineError(
                "there is no such engine", where=engine, remedy="Build it: python build_engines.py --clips ROOT."
            )
        if self.detector.max_batch < self.batch:
            raise EngineError(
                "the engine was built for a smaller batch",
                where=engine,
                asked=f"batch {self.batch}",
                found=f"at most {self.detector.max_batch}",
                remedy="Build it for this batch (python build_engines.py --clips ROOT), or decode fewer clips at once.",
            )

    def render(self) -> str:
        """Return the configuration file's text."""
        detector = self.detector
        return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            gpu_id=self.gpu_id,
            unique_id=self.unique_id,
            batch=self.batch,
            # Relative paths would be looked up beside the configuration file.
            engine=detector.engine.absolute(),
            precision=_PRECISIONS[detector.precision],
            width=detector.width,
            height=detector.height,
            colour=_COLOURS[detector.colour],
            offsets=";".join(f"{value:.9g}" for value in detector.mean),
            # Nine digits bring any float32 back to the bit.
            scale=f"{1 / detector.std:.9g}",
        )


def write_config(engine: DetectorEngine, *, unique_id: int, batch: int, gpu_id: int, directory: Path) -> str:
    """Write the configuration file of one nvinfer and return its path. Raises EngineError as :meth:`NvInferSettings.check`."""
    settings = NvInferSettings(engine, batch, unique_id, gpu_id)
    settings.check()
    path = directory / f"detector-{unique_id}.txt"
    path.write_text(settings.render(), encoding="utf-8")
    return str(path)


def check_outputs(engines: Mapping[int, DetectorEngine], outputs: Mapping[int, Mapping[str, Any]]) -> None:
    """Raise EngineError where what the networks said of a frame is not what is read of them; both by the networks' ids."""
    for number, engine in engines.items():
        found = outputs.get(number, {})
        if not set(engine.outputs) <= found.keys():
            raise EngineError(
                "nvinfer gives other tensors than the detector's" if found else "nvinfer gives no tensors",
                where=engine.engine,
                asked=", ".join(engine.outputs),
                found=", ".join(found) or None,
                remedy="Build the engine for this detector: python build_engines.py --clips ROOT.",
            )


def graph_error(engines: Iterable[DetectorEngine], where: object, words: str) -> EngineError:
    """Return the error of a graph that failed, which concerns all its clips.

    Parameters
    ----------
    where: which graph.
    words: what it said.
    """
    files = "".join(f"; engine {engine.engine}" for engine in engines)
    return EngineError(
        "the DeepStream graph failed",
        where=where,
        found=words + files,
        remedy="Build the engines on this machine (python build_engines.py --clips ROOT); facesearch doctor checks the rest.",
    )
