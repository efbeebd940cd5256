"""From published weights to the ONNX that the runtimes get: what each architecture needs, and the checks on the way.

Every prepared network has the input ``input`` float32 [batch, 3, height, width]. Detectors take any batch, and any
height and width that are multiples of the catalogue's. Outputs, in this order:

- ``centerface``: ``heatmap``, ``scale``, ``offset``, ``landmarks``; [batch, 1 or 2 or 2 or 10, height/4, width/4]
- ``yunet``: ``cls_S``, ``obj_S``, ``bbox_S``, ``kps_S``, each for S in 8, 16, 32; [batch, n, 1 or 1 or 4 or 10]
- ``scrfd``: ``score_S``, ``bbox_S``, ``kps_S``, each for S in 8, 16, 32; [batch, n, 1 or 4 or 10], two anchors a place
- embedders: ``embedding`` [batch, dimension]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from . import onnx_graph
from .dlib_onnx import onnx_from_dat
from .entries import DetectorEntry, EmbedderEntry

if TYPE_CHECKING:
    import onnx

__all__ = ["CONVERTER_VERSION", "convert_detector", "convert_embedder"]

CONVERTER_VERSION = 1
"""Raised with every change that alters a prepared file, so that older ones are made again."""

_STRIDES = (8, 16, 32)
_OUTPUTS = {
    "centerface": ["heatmap", "scale", "offset", "landmarks"],
    "yunet": [f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in _STRIDES],
    "scrfd": [f"{head}_{stride}" for head in ("score", "bbox", "kps") for stride in _STRIDES],
}


def _refuse(entry: DetectorEntry | EmbedderEntry, weights: Path, reason: object) -> ModelError:
    form = entry.decoder if isinstance(entry, DetectorEntry) else "embedder"
    return ModelError(f"the network does not have the form of a {form}", where=weights, asked=entry.name, found=reason)


def _loaded(weights: Path, outputs: list[str]) -> onnx.ModelProto:
    """Load, check the number of inputs and outputs, and give them their known names."""
    model = onnx_graph.without_weight_inputs(onnx_graph.load(weights))
    if (found := len(model.graph.input)) != 1:
        raise ValueError(f"{found} inputs instead of one")
    if (found := len(model.graph.output)) != len(outputs):
        raise ValueError(f"{found} outputs instead of {len(outputs)}")
    published = [value.name for value in (model.graph.input[0], *model.graph.output)]
    return onnx_graph.rename(onnx_graph.to_opset(model), dict(zip(published, ["input", *outputs], strict=True)))


def convert_detector(entry: DetectorEntry, weights: Path) -> onnx.ModelProto:
    """Convert a detector. Raises ModelError when the file does not have the form that the entry's decoder reads."""
    try:
        model = _loaded(weights, _OUTPUTS[entry.decoder])
        return onnx_graph.name_outputs(onnx_graph.make_dynamic(model, ["batch", 3, "height", "width"]))
    except ValueError as error:
        raise _refuse(entry, weights, error) from error


def convert_embedder(entry: EmbedderEntry, weights: Path) -> onnx.ModelProto:
    """Convert an embedder. Raises ModelError when the file does not have the form that the entry says."""
    if entry.format == "dlib":
        return onnx_from_dat(weights)
    try:
        model = _loaded(weights, ["embedding"])
        return onnx_graph.name_outputs(onnx_graph.make_dynamic(model, ["batch", 3, entry.chip_size, entry.chip_size]))
    except ValueError as error:
        raise _refuse(entry, weights, error) from error
