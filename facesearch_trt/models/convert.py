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
from .entries import DetectorEntry, EmbedderEntry, ModelEntry
from .onnx_batch import free_batch
from .onnx_prelu import without_prelu

if TYPE_CHECKING:
    import onnx

__all__ = ["CONVERTER_VERSION", "convert_detector", "convert_embedder"]

CONVERTER_VERSION = 1
"""Raised with every change that alters a prepared file, so that older ones are made again."""

_STRIDES = (8, 16, 32)

Shape = tuple[int | None, ...]


def _heads(sizes: dict[str, int]) -> dict[str, Shape]:
    return {f"{head}_{stride}": (None, None, size) for head, size in sizes.items() for stride in _STRIDES}


_OUTPUTS: dict[str, dict[str, Shape]] = {
    "centerface": {
        "heatmap": (None, 1, None, None),
        "scale": (None, 2, None, None),
        "offset": (None, 2, None, None),
        "landmarks": (None, 10, None, None),
    },
    "yunet": _heads({"cls": 1, "obj": 1, "bbox": 4, "kps": 10}),
    "scrfd": _heads({"score": 1, "bbox": 4, "kps": 10}),
}
"""Decoder to its outputs' names and shapes; None is free."""


def _check_normalisation(entry: ModelEntry, model: onnx.ModelProto) -> None:
    found, place = onnx_graph.normalises_input(model), entry.normalisation.place
    if place == "inside" and found is None:
        raise ValueError("the entry says that pixels are normalised inside the graph, but the graph does not begin so")
    # A leading batch normalisation may be a network's first layer; arithmetic with constants is nothing else.
    if place != "inside" and found not in (None, "BatchNormalization"):
        raise ValueError(f"the graph begins with {found}, so it normalises inside, but the entry says {place!r}")


def _converted(
    entry: ModelEntry, weights: Path, outputs: dict[str, Shape], side: tuple[str | int, str | int]
) -> onnx.ModelProto:
    model = onnx_graph.without_weight_inputs(onnx_graph.load(weights))
    if (found := len(model.graph.input)) != 1:
        raise ValueError(f"{found} inputs instead of one")
    shape = onnx_graph.fixed_sizes(model.graph.input[0])
    # A detector's sides are free, whatever its file declares: the known ones are convolutions throughout.
    wanted = [None, 3, *(size if isinstance(size, int) else None for size in side)]
    if len(shape) != 4 or any(None not in pair and pair[0] != pair[1] for pair in zip(shape, wanted, strict=True)):
        raise ValueError(f"an input of shape {shape} instead of {wanted}")
    published = [value.name for value in model.graph.output]
    if len(published) != len(outputs):
        raise ValueError(f"{len(published)} outputs instead of {len(outputs)}: {', '.join(published)}")
    if set(published) != set(outputs):
        # Exporters number the outputs; their order is the one that the published decoders rely on.
        onnx_graph.rename(model, dict(zip(published, outputs, strict=True)))
    onnx_graph.rename(model, {model.graph.input[0].name: "input"})
    model = free_batch(onnx_graph.to_opset(model), ["batch", 3, *side])
    _check_normalisation(entry, model)
    return onnx_graph.set_outputs(model, [outputs[value.name] for value in model.graph.output])


def _refused(entry: ModelEntry, weights: Path, form: str, reason: object) -> ModelError:
    found = " ".join(str(reason).split())[:300]
    remedy = "Correct the entry or name another file in it."
    return ModelError(
        f"the network of {entry.name} does not have the form of {form}", where=weights, found=found, remedy=remedy
    )


def convert_detector(entry: DetectorEntry, weights: Path) -> onnx.ModelProto:
    """Convert a detector.

    Raises ModelError when the file is no ONNX or does not have the form that the entry's decoder reads.
    """
    try:
        return _converted(entry, weights, _OUTPUTS[entry.decoder], ("height", "width"))
    except (ValueError, RuntimeError) as error:  # onnx's shape inference and conversion raise RuntimeErrors
        raise _refused(entry, weights, f"a {entry.decoder} detector", error) from error


def convert_embedder(entry: EmbedderEntry, weights: Path, *, keep_prelu: bool = False) -> onnx.ModelProto:
    """Convert an embedder; ``keep_prelu`` leaves its PRelu nodes, which are otherwise rewritten for ONNX Runtime.

    Raises ModelError when the file is damaged or does not have the form that the entry says.
    """
    if entry.format == "dlib":
        return onnx_from_dat(weights)
    form = f"an embedder of {entry.dimension} values over {entry.chip_size}x{entry.chip_size} px"
    try:
        model = _converted(entry, weights, {"embedding": (None, entry.dimension)}, (entry.chip_size, entry.chip_size))
    except (ValueError, RuntimeError) as error:
        raise _refused(entry, weights, form, error) from error
    return model if keep_prelu else without_prelu(model)
