"""Graph surgery, done once when a published ONNX is prepared: one opset, any batch and picture size, known names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "load", "make_dynamic", "name_outputs", "rename", "to_opset", "without_weight_inputs"]

OPSET = 17
"""Known to every runtime from TensorRT 8.6 and ONNX Runtime 1.12 on."""
_IR_VERSION = 8


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file. Raises ModelError when it is none."""
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and the checker's own classes have no common base
        raise ModelError("not a valid ONNX file", where=path, found=str(error).partition("\n")[0]) from error
    return model


def without_weight_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take the weights out of the graph's inputs, where IR 3 listed them: as inputs no runtime may fold them."""
    weights = {weight.name for weight in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def to_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring the model to opset 17 and its IR."""
    from onnx import version_converter

    current = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if current != OPSET:
        model = version_converter.convert_version(model, OPSET)
    model.ir_version = _IR_VERSION
    return model


def rename(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """Rename values (inputs, outputs, what nodes read and write)."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return model


def make_dynamic(model: onnx.ModelProto, dimensions: Sequence[str | int]) -> onnx.ModelProto:
    """Give the one input these dimensions (a text names a free one) and let the outputs' shapes follow from it."""
    import onnx

    del model.graph.value_info[:]
    shape = model.graph.input[0].type.tensor_type.shape
    del shape.dim[:]
    for dimension in dimensions:
        if isinstance(dimension, str):
            shape.dim.add().dim_param = dimension
        else:
            shape.dim.add().dim_value = dimension
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def name_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the free dimensions of the outputs readable names; the first is the batch.

    Raises ValueError where an output is fixed to a batch size.
    """
    for output in model.graph.output:
        for place, dimension in enumerate(output.type.tensor_type.shape.dim):
            if dimension.WhichOneof("value") != "dim_value":
                dimension.dim_param = f"{output.name}_{place}" if place else "batch"
            elif not place:
                raise ValueError(f"output {output.name!r} is fixed to a batch of {dimension.dim_value}")
    return model
