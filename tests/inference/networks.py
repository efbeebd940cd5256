"""Small ONNX files with the heads of real detectors and embedders and random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["write_centerface", "write_embedder", "write_unsupported", "write_yunet"]

CHIP = 24
"""Side of the embedder's chips, px."""
DIMENSION = 8
FACE = ((0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75))
"""Landmarks as shares of the box, x and y."""


def _save(
    path: Path, nodes: list[onnx.NodeProto], weights: dict[str, object], output: dict[str, list[object]], side: int = 0
) -> Path:
    spatial = [side, side] if side else ["height", "width"]
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, *spatial])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in output.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def _random(seed: int, *shape: int, scale: float = 1.0, offset: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(offset, scale, shape)).astype(np.float32)


def write_embedder(path: Path) -> Path:
    """Write [B, 3, 24, 24] to [B, 8]: convolution, batch normalisation, PRelu, mean, product."""
    weights = {
        "w1": _random(1, 6, 3, 3, 3, scale=0.02),
        "gamma": _random(2, 6, scale=0.1, offset=1),
        "beta": _random(3, 6),
        "mean": _random(4, 6),
        "var": np.abs(_random(5, 6)) + 1,
        "slope": np.full((6, 1, 1), 0.25, np.float32),
        "w2": _random(6, 12, 6, 3, 3, scale=0.2),
        "w3": _random(7, 12, 12, 3, 3, scale=0.1),
        "g": _random(8, 12, DIMENSION),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"]),
        helper.make_node("PRelu", ["n1", "slope"], ["p1"]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "g"], ["embedding"]),
    ]
    return _save(path, nodes, weights, {"embedding": ["batch", DIMENSION]}, CHIP)


def write_centerface(path: Path, *, bias: float = -1.5) -> Path:
    """Write CenterFace's four maps at stride 4; a lower ``bias`` finds fewer faces."""
    heads = {"heatmap": 1, "scale": 2, "offset": 2, "landmarks": 10}
    nodes, weights = [], {}
    biases = {"heatmap": [bias], "scale": [1.6] * 2, "offset": [0.0] * 2, "landmarks": np.array(FACE)[:, ::-1].ravel()}
    for number, (name, channels) in enumerate(heads.items()):
        weights[f"{name}_w"] = _random(10 + number, channels, 3, 4, 4, scale=0.3 if name == "heatmap" else 0.02)
        weights[f"{name}_b"] = np.array(biases[name], np.float32)
        kind = "logit" if name == "heatmap" else name
        nodes.append(helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [kind], strides=[4, 4]))
    nodes.append(helper.make_node("Sigmoid", ["logit"], ["heatmap"]))
    outputs = {name: ["batch", channels, f"{name}_h", f"{name}_w_"] for name, channels in heads.items()}
    return _save(path, nodes, weights, outputs)


def write_yunet(path: Path) -> Path:
    """Write YuNet's twelve outputs."""
    nodes, weights, outputs = [], {}, {}
    for stride in (8, 16, 32):
        for number, (head, channels) in enumerate({"cls": 1, "obj": 1, "bbox": 4, "kps": 10}.items()):
            name = f"{head}_{stride}"
            scale = (2 if channels == 1 else 0.1) / stride
            points = (np.array(FACE) * 4 - 1.5).ravel()
            biases = {"cls": [0.0], "obj": [0.0], "bbox": [0.5, 0.5, 1.4, 1.4], "kps": points}
            weights[f"{name}_w"] = _random(stride + number, channels, 3, stride, stride, scale=scale)
            weights[f"{name}_b"] = np.array(biases[head], np.float32)
            weights[f"{name}_s"] = np.array([0, -1, channels], np.int64)
            nodes += [
                helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_c"], strides=[stride, stride]),
                helper.make_node("Sigmoid" if channels == 1 else "Identity", [f"{name}_c"], [f"{name}_a"]),
                helper.make_node("Transpose", [f"{name}_a"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [name]),
            ]
            outputs[name] = ["batch", f"n{stride}", channels]
    order = [f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)]
    return _save(path, nodes, weights, {name: outputs[name] for name in order})


def write_unsupported(path: Path) -> Path:
    """Write a network whose third node is a Det, which TensorRT does not have."""
    nodes = [
        helper.make_node("Relu", ["input"], ["r"], name="relu"),
        helper.make_node("Relu", ["r"], ["s"], name="again"),
        helper.make_node("Det", ["s"], ["embedding"], name="the_determinant"),
    ]
    return _save(path, nodes, {}, {"embedding": ["batch", 3]}, CHIP)
