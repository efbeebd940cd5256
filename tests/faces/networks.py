"""ONNX files with the heads of SCRFD and ArcFace and random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_scrfd(path: Path, *, batched: bool, landmarks: bool = True, seed: int = 0) -> Path:
    """Write a network with SCRFD's heads: scores, boxes and landmarks for strides 8, 16, 32, two anchors a cell."""
    random = np.random.default_rng(seed)
    nodes, weights, outputs = [], [], {}
    heads = {"score": 1, "box": 4, "points": 10} if landmarks else {"score": 1, "box": 4}
    for head, values in heads.items():
        for stride in (8, 16, 32):
            name = f"{head}_{stride}"
            kernel = random.normal(0, 1 / (3 * stride), (2 * values, 3, stride, stride))
            # Few scores pass 0.5; boxes are large enough to overlap and never inside out.
            bias = np.full(2 * values, {"score": -1.5, "box": 2.0, "points": 0.0}[head])
            weights.append(numpy_helper.from_array((kernel * 4).astype(np.float32), f"{name}_w"))
            weights.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}_b"))
            shape = [0, -1, values] if batched else [-1, values]
            weights.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_s"))
            nodes.append(
                helper.make_node("Conv", ["input.1", f"{name}_w", f"{name}_b"], [f"{name}_c"], strides=[stride] * 2)
            )
            activation = {"score": "Sigmoid", "box": "Relu", "points": "Identity"}[head]
            nodes.append(helper.make_node(activation, [f"{name}_c"], [f"{name}_a"]))
            nodes.append(helper.make_node("Transpose", [f"{name}_a"], [f"{name}_t"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [name]))
            outputs[name] = ["B", f"n{stride}", values] if batched else [f"n{stride}", values]
    batch = "B" if batched else 1
    return _write(path, nodes, weights, ("input.1", [batch, 3, "H", "W"]), outputs)


def write_arcface(path: Path, *, normalised_inside: bool, dimension: int = 16) -> Path:
    """Write an embedder of 112 px RGB chips, with (x - 127.5) / 127.5 inside it or not."""
    random = np.random.default_rng(1)
    nodes, name = [], "data"
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, (8, 3, 7, 7)).astype(np.float32), "w"),
        numpy_helper.from_array(random.normal(0, 1, (dimension, 8 * 4 * 4)).astype(np.float32), "g"),
        numpy_helper.from_array(random.normal(0, 1, dimension).astype(np.float32), "b"),
    ]
    if normalised_inside:
        weights.append(numpy_helper.from_array(np.float32(127.5), "mean"))
        weights.append(numpy_helper.from_array(np.float32(1 / 127.5), "factor"))
        # InsightFace knows by these names that it must not normalise.
        nodes.append(helper.make_node("Sub", ["data", "mean"], ["centred"], name="Sub_0"))
        nodes.append(helper.make_node("Mul", ["centred", "factor"], ["scaled"], name="Mul_0"))
        name = "scaled"
    nodes.append(helper.make_node("Conv", [name, "w"], ["conv"], strides=[7, 7], name="Conv_0"))
    nodes.append(helper.make_node("Relu", ["conv"], ["relu"], name="Relu_0"))
    nodes.append(
        helper.make_node("AveragePool", ["relu"], ["pool"], kernel_shape=[4, 4], strides=[4, 4], name="Pool_0")
    )
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], name="Flatten_0"))
    nodes.append(helper.make_node("Gemm", ["flat", "g", "b"], ["embedding"], transB=1, name="Gemm_0"))
    return _write(path, nodes, weights, ("data", ["B", 3, 112, 112]), {"embedding": ["B", dimension]})


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    entry: tuple[str, list[int | str]],
    outputs: dict[str, list[int | str]],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(entry[0], TensorProto.FLOAT, entry[1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
