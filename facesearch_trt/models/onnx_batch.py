"""Frees a published network from the batch of one that its export wrote into the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .onnx_graph import constants, make_dynamic

if TYPE_CHECKING:
    import onnx

__all__ = ["free_batch"]

_SCRFD_PERMUTATION = [2, 3, 0, 1]
"""SCRFD's export moves [batch, channels, h, w] to [h, w, batch, channels] and flattens it to [-1, values]
(scrfd_head.py in InsightFace), which mixes the pictures of a batch."""


def free_batch(model: onnx.ModelProto, dimensions: list[str | int]) -> onnx.ModelProto:
    """Let the one input have ``dimensions``, of which the first is the batch, and every output a batch of its own in
    front.

    Reshapes to a leading 1 keep the first dimension instead, and SCRFD's flattened heads become [batch, n, values];
    for a batch of one the numbers stay the same.
    """
    _separate_pictures(model)
    model = make_dynamic(model, dimensions)
    while _keep_batch(model):
        model = make_dynamic(model, dimensions)
    return model


def _set_shape(model: onnx.ModelProto, reshape: onnx.NodeProto, shape: list[int]) -> None:
    import numpy as np
    from onnx import numpy_helper

    # A new constant, because exporters share one between several nodes.
    name = f"{reshape.output[0]}_shape"
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    reshape.input[1] = name


def _reshapes(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, list[int]]]:
    known = constants(model)
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in known:
            yield node, [int(size) for size in known[node.input[1]].ravel()]


def _separate_pictures(model: onnx.ModelProto) -> None:
    from onnx import helper

    moved = {
        node.output[0]: node
        for node in model.graph.node
        if node.op_type == "Transpose" and list(helper.get_node_attr_value(node, "perm")) == _SCRFD_PERMUTATION
    }
    for node, shape in _reshapes(model):
        if node.input[0] in moved and len(shape) == 2 and shape[0] == -1:
            (permutation,) = moved[node.input[0]].attribute
            permutation.ints[:] = [0, 2, 3, 1]
            _set_shape(model, node, [0, -1, shape[1]])


def _keep_batch(model: onnx.ModelProto) -> bool:
    """Replace the leading 1 in the shapes of reshapes whose input begins with the batch; return whether there were
    any."""
    first = {
        value.name: value.type.tensor_type.shape.dim[0].dim_param
        for value in (*model.graph.input, *model.graph.value_info)
        if value.type.tensor_type.shape.dim
    }
    found = False
    for node, shape in _reshapes(model):
        if shape and shape[0] == 1 and first.get(node.input[0]) == "batch":
            _set_shape(model, node, [0, *shape[1:]])
            found = True
    return found
