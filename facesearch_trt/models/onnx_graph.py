"""Graph surgery, done once when a published ONNX is prepared: one opset, any batch and picture size, known names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ..errors import ModelError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "OPSET",
    "constants",
    "fixed_sizes",
    "load",
    "make_dynamic",
    "normalises_input",
    "rename",
    "set_outputs",
    "to_opset",
    "without_weight_inputs",
]

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
    """Rename values (inputs, outputs, what nodes read and write); another value that has a wanted name gives way."""
    taken = {weight.name for weight in model.graph.initializer}
    taken.update(name for node in model.graph.node for name in (*node.input, *node.output))
    names = {**{name: f"{name}__published" for name in names.values() if name in taken and name not in names}, **names}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
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


def constants(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """Return the graph's constant values by name: initialisers and Constant nodes."""
    from onnx import helper, numpy_helper

    found = {weight.name: numpy_helper.to_array(weight) for weight in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(helper.get_attribute_value(node.attribute[0]))
    return found


def fixed_sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    """Return the shape of an input or output, with None for what is free or not known."""
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]


def set_outputs(model: onnx.ModelProto, shapes: Sequence[Sequence[int | None]]) -> onnx.ModelProto:
    """Declare the outputs' shapes, in order; None is a free dimension, the first is the batch.

    Raises ValueError where the graph itself gives an output another shape, or fixes what is to be free.
    """
    for output, wanted in zip(model.graph.output, shapes, strict=True):
        found = fixed_sizes(output)
        if len(found) != len(wanted) or any(
            size is not None and size != want for size, want in zip(found, wanted, strict=True)
        ):
            raise ValueError(f"output {output.name!r} has the shape {found} instead of {list(wanted)}")
        for place, (dim, want) in enumerate(zip(output.type.tensor_type.shape.dim, wanted, strict=True)):
            if want is None:
                dim.dim_param = f"{output.name}_{place}" if place else "batch"
            else:
                dim.dim_value = want
    return model


def normalises_input(model: onnx.ModelProto) -> str | None:
    """Return the operator with which the graph begins to normalise its pixels, None where it does not.

    InsightFace's own loader recognises such networks in the same way, by a leading Sub and Mul. A leading batch
    normalisation is reported too: it may be that, or the network's first layer.
    """
    known = constants(model)
    value = model.graph.input[0].name
    for node in model.graph.node:
        if value in node.input:
            if node.op_type in ("Identity", "Cast"):
                value = node.output[0]
                continue
            others = [name for name in node.input if name != value]
            if node.op_type == "BatchNormalization" or (
                node.op_type in ("Sub", "Add", "Mul", "Div") and all(name in known for name in others)
            ):
                return str(node.op_type)
            return None
    return None
