"""Int8 for ``facesearch build``: pictures to calibrate with, and what int8 costs and gains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..config import Options
from ..errors import EngineError, InputError
from ..faces.letterbox import detector_input_size, letterbox_for
from ..faces.network import fill_planes
from ..inference.calibration import calibration_from_pictures, calibration_pictures
from ..inference.choose import Backend, NetworkOrder
from ..inference.cpu_int8 import CpuInt8, cpu_has_vnni, measured_speedup, record_int8
from ..inference.files import file_sha256
from ..inference.onnxruntime import OnnxRuntimeEngine
from ..inference.precision import Calibration, quantised_for_cpu
from ..inference.verify import BoxAgreement, CosineAgreement, compare_detectors, compare_embedders
from ..store import ClipStore
from ..types import Array, DetectorSpec, EmbedderSpec
from .verification import open_detector, open_embedder

__all__ = ["Int8Data", "cost_of_engine", "int8_data", "make_cpu_int8"]

_CALIBRATED, _JUDGED = 128, 48
"""Most pictures to measure ranges on, and others to judge the result by."""
_TIMED = 8
"""Faces in the batch whose time is taken."""
_REFERENCE = Backend("onnxruntime", "fp32", "the reference")


@dataclass(frozen=True, slots=True)
class Int8Data:
    """A user's own pictures for one network."""

    spec: DetectorSpec | EmbedderSpec
    calibrated: list[Path]
    judged: list[Path]
    """Other pictures than ``calibrated`` where there are enough."""
    options: Options

    def calibration(self) -> Calibration:
        """Return what the quantiser reads."""
        return calibration_from_pictures(self.calibrated, self.planes)

    def planes(self, image: Array) -> Array:
        """Return float32 [1, 3, H, W], the network's input, for a frame or a chip."""
        spec = self.spec
        if isinstance(spec, DetectorSpec):
            # The size at which the detector looks at such frames.
            height, width = image.shape[:2]
            size = detector_input_size(width, height, self.options.detector_size, spec.multiple)
            image = letterbox_for(width, height, *size).apply(image)
        planes = np.empty((1, 3, *image.shape[:2]), np.float32)
        fill_planes(planes[0], image, spec.colour, spec.mean, spec.std)
        return planes

    def pictures(self) -> Iterator[Array]:
        """Yield the pictures to judge by, one at a time."""
        for path in self.judged:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise EngineError("this is no picture", where=path, remedy="Redo its clip with --force.")
            yield image


def int8_data(root: Path, spec: DetectorSpec | EmbedderSpec, options: Options) -> Int8Data:
    """Return the pictures of the finished clips under ``root``, or of one ``.pipeline`` directory.

    Raises InputError where there is no finished clip, EngineError where the clips hold no face.
    """
    if not root.is_dir():
        raise InputError("there is no such directory", where=root, remedy="Give a directory of processed videos.")
    directories = [root] if root.name.endswith(".pipeline") else sorted(root.glob("*.pipeline"))
    records = ((directory, ClipStore(directory).record()) for directory in directories)
    finished = [directory for directory, record in records if record is not None and "faces" in record.steps]
    if not finished:
        raise InputError(
            "no finished clip to calibrate with",
            where=root,
            found=f"{len(directories)} .pipeline directories",
            remedy=f"Run: python run_pipeline.py --input_directory {root}",
        )
    kind = "frames" if isinstance(spec, DetectorSpec) else "chips"
    chosen = calibration_pictures(finished, kind, _CALIBRATED + _JUDGED)  # type: ignore[arg-type]
    every = max(2, len(chosen) // min(_JUDGED, max(1, len(chosen) // 2)))
    judged = chosen[::every][:_JUDGED]
    rest = [path for path in chosen if path not in set(judged)] or chosen
    return Int8Data(spec, rest[:_CALIBRATED], judged, options)


def cost_of_engine(order: NetworkOrder, data: Int8Data, backend: Backend) -> BoxAgreement | CosineAgreement:
    """Return how near an int8 network on a backend stays to ONNX Runtime in float32 over the pictures to judge by."""
    with ExitStack() as stack:
        if isinstance(data.spec, DetectorSpec):
            detectors = [open_detector(stack, order, data.spec, one, data.options) for one in (_REFERENCE, backend)]
            first, second = (lambda picture, it=it: it.detect([picture])[0] for it in detectors)
            return compare_detectors(first, second, data.pictures())
        embedders = [open_embedder(stack, order, data.spec, one, data.options) for one in (_REFERENCE, backend)]
        return compare_embedders(embedders[0].embed, embedders[1].embed, (chip[None] for chip in data.pictures()))


def make_cpu_int8(order: NetworkOrder, data: Int8Data, directory: Path) -> CpuInt8:
    """Make a network's int8 file for ONNX Runtime on this CPU, measure what it costs and gains, and keep the result."""
    quantised = quantised_for_cpu(order.onnx, directory / "onnx", data.calibration(), has_vnni=cpu_has_vnni())
    with OnnxRuntimeEngine(order.onnx) as reference, OnnxRuntimeEngine(quantised) as candidate:
        feeds = {name: _batch(data) for name in reference.inputs}
        speedup = measured_speedup(reference, candidate, feeds)
    # Opening the network by its order takes the file that this record names; so it is judged as it would be used.
    source = file_sha256(order.onnx)
    name = str(quantised.relative_to(directory))
    record_int8(directory, order.model, CpuInt8(name, source, float("inf"), True, "being measured"))
    agreement = cost_of_engine(order, data, Backend("onnxruntime", "int8", "as asked"))
    shortfalls = agreement.shortfalls("int8")
    result = CpuInt8(name, source, round(speedup, 3), not shortfalls, "; ".join([str(agreement), *shortfalls]))
    record_int8(directory, order.model, result)
    return result


def _batch(data: Int8Data) -> Array:
    limit = 1 if isinstance(data.spec, DetectorSpec) else _TIMED
    inputs = [data.planes(image) for image, _ in zip(data.pictures(), range(limit), strict=False)]
    return np.concatenate(inputs)
