"""Entries and small networks that the tests make themselves."""

from __future__ import annotations

import contextlib
import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from facesearch_trt.models.entries import DetectorEntry, EmbedderEntry, FileSource, Licence, Normalisation, Source

FREE = Licence("MIT", commercial=True, url="https://example.org/licence", accept=False)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def no_larger_files_than(nbytes: int) -> Iterator[None]:
    """Let the system refuse to write more into a file, as a full disk does (setrlimit(2), RLIMIT_FSIZE)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def embedder(content: bytes, source: Source | None = None, **changes: Any) -> EmbedderEntry:
    fields: dict[str, Any] = {
        "name": "small",
        "declared_in": Path("/nowhere/models.yaml"),
        "source": source or FileSource(Path("small.onnx")),
        "sha256": sha(content),
        "size_bytes": len(content),
        "licence": FREE,
        "format": "onnx",
        "colour": "rgb",
        "normalisation": Normalisation("outside", (127.5, 127.5, 127.5), 127.5),
        "template": "arcface",
        "chip_size": 16,
        "dimension": 4,
        "similarity": 0.4,
        "similarity_strict": 0.5,
    }
    return EmbedderEntry(**{**fields, **changes})


def detector(content: bytes, decoder: str, **changes: Any) -> DetectorEntry:
    fields: dict[str, Any] = {
        "name": "finder",
        "declared_in": Path("/nowhere/models.yaml"),
        "source": FileSource(Path("finder.onnx")),
        "sha256": sha(content),
        "size_bytes": len(content),
        "licence": FREE,
        "format": "onnx",
        "colour": "rgb",
        "normalisation": Normalisation("outside", (127.5, 127.5, 127.5), 128.0),
        "decoder": decoder,
        "multiple": 32,
        "score_threshold": 0.5,
    }
    return DetectorEntry(**{**fields, **changes})


def model(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    weights: dict[str, Any],
    *,
    opset: int = 11,
    ir: int = 6,
) -> ModelProto:
    def values(shapes: dict[str, list[Any]]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", values(inputs), values(outputs), constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def small_embedder(*, inside: bool = False, batch: int | str = 1) -> ModelProto:
    """Conv, PRelu, a reshape to a batch of one, Gemm: what InsightFace's exports look like, in small."""
    random = np.random.default_rng(3)
    node = helper.make_node
    nodes = []
    value = "input.1"
    if inside:
        nodes += [node("Sub", ["input.1", "mean"], ["centred"]), node("Mul", ["centred", "scale"], ["scaled"])]
        value = "scaled"
    nodes += [
        node("Conv", [value, "w"], ["c"], strides=[4, 4]),
        node("PRelu", ["c", "slope"], ["p"]),
        node("Reshape", ["p", "flat"], ["f"]),
        node("Gemm", ["f", "fc"], ["683"]),
    ]
    weights: dict[str, Any] = {
        "w": random.normal(size=(5, 3, 4, 4)).astype(np.float32),
        "slope": random.normal(size=(5, 1, 1)).astype(np.float32),
        "flat": np.array([1, 80], np.int64),
        "fc": random.normal(size=(80, 4)).astype(np.float32),
    }
    if inside:
        weights |= {"mean": np.float32(127.5), "scale": np.float32(1 / 128)}
    return model(nodes, {"input.1": [batch, 3, 16, 16]}, {"683": [batch, 4]}, weights)


def small_scrfd() -> ModelProto:
    """Nine heads over three strides as SCRFD's export flattens them: [h, w, batch, channels] to [-1, values]."""
    random = np.random.default_rng(4)
    node = helper.make_node
    nodes, weights, outputs = [], {}, {}
    for head, values in (("score", 1), ("bbox", 4), ("kps", 10)):
        # One shared shape for the three strides, as exporters do.
        weights[f"shape_{head}"] = np.array([-1, values], np.int64)
        for stride in (8, 16, 32):
            name = f"{head}{stride}"
            weights[f"w{name}"] = random.normal(size=(2 * values, 3, stride, stride)).astype(np.float32) / stride
            nodes += [
                node("Conv", ["input.1", f"w{name}"], [f"c{name}"], strides=[stride, stride]),
                node("Transpose", [f"c{name}"], [f"t{name}"], perm=[2, 3, 0, 1]),
                node("Reshape", [f"t{name}", f"shape_{head}"], [f"r{name}"]),
                node("Sigmoid" if head == "score" else "Identity", [f"r{name}"], [f"n{name}"]),
            ]
            outputs[f"n{name}"] = [2 * (64 // stride) ** 2, values]
    return model(nodes, {"input.1": [1, 3, "?", "?"]}, outputs, weights)
