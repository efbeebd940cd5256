"""Rewrites PRelu for ONNX Runtime, whose CPU kernel for it is slow and keeps convolutions from being fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .onnx_graph import constants

if TYPE_CHECKING:
    import onnx

__all__ = ["without_prelu"]


def without_prelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write every PRelu of constant slope a as a x + (1 - a) Relu(x).

    The same function up to rounding (1e-6 on a face embedder). TensorRT has a PRelu of its own and wants the original.
    """
    from onnx import helper, numpy_helper

    known = constants(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "PRelu" or node.input[1] not in known:
            nodes.append(node)
            continue
        value, output = node.input[0], node.output[0]
        slope = known[node.input[1]]
        below, above, positive = f"{output}_below", f"{output}_above", f"{output}_positive"
        rest = numpy_helper.from_array((1 - slope).astype(slope.dtype), f"{output}_one_minus_slope")
        model.graph.initializer.append(rest)
        nodes += [
            helper.make_node("Mul", [value, node.input[1]], [below], name=below),
            helper.make_node("Relu", [value], [positive], name=positive),
            helper.make_node("Mul", [positive, rest.name], [above], name=above),
            helper.make_node("Add", [below, above], [output], name=output),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
