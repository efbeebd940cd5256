"""dlib's face recognition network as ONNX.

The architecture is dlib's ``anet_type`` (examples/dnn_face_recognition_ex.cpp): a 29-convolution ResNet over RGB
150x150. The converted network takes pixels as they are: dlib's mean and its division by 256 are folded into the first
convolution, every affine layer (a frozen batch normalisation) into the convolution before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from .dlib_dat import DatNetwork, Layer, read_dat

if TYPE_CHECKING:
    import onnx

__all__ = ["CHIP_SIZE", "DIMENSION", "onnx_from_dat"]

CHIP_SIZE = 150
DIMENSION = 128

_OPSET = 17
_IR_VERSION = 8
"""The IR that came with opset 17; newer ones are refused by older runtimes."""

_LEVELS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))
"""Channels and blocks of each level from the input on; all but the first level begin with a block that halves the
resolution."""

_BLOCK = ("con", "affine", "relu", "con", "affine")

Doubles = npt.NDArray[np.float64]


def _expected_kinds() -> list[str]:
    kinds = ["con", "affine", "relu", "max_pool"]
    for level, (_, blocks) in enumerate(_LEVELS):
        for block in range(blocks):
            kinds += [*_BLOCK, *(["avg_pool"] if level and not block else []), "add_prev", "relu"]
    return [*kinds, "avg_pool", "fc"]


@dataclass
class _Graph:
    """Grows an ONNX graph, keeping track of the [C, H, W] of the current value."""

    layers: list[Layer]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def next(self, *settings: int) -> Layer:
        layer = self.layers.pop(0)
        if settings and layer.settings != settings:
            raise ValueError(f"a {layer.kind} layer with settings {layer.settings}, known is {settings}")
        return layer

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: object) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(
        self,
        value: str,
        channels: int,
        filters: int,
        *,
        side: int,
        stride: int,
        padding: int,
        mean: Doubles | None = None,
    ) -> str:
        """Convolution and the affine layer after it as one node; ``mean`` [C] of pixels that are still 0..255."""
        weights, bias = (
            array.astype(np.float64)
            for array in self.next(filters, side, side, stride, stride, padding, padding).arrays
        )
        if weights.shape != (filters, channels, side, side):
            raise ValueError(f"filters of shape {weights.shape}, known is {(filters, channels, side, side)}")
        gamma, beta = (array.astype(np.float64) for array in self.next().arrays)
        if {bias.shape, gamma.shape, beta.shape} != {(filters,)}:
            raise ValueError("a bias or affine layer that does not fit its convolution")
        if mean is not None:
            # Exact only because this convolution has no padding (its settings were checked above): dlib pads after the
            # mean is gone, so a folded mean would count every padded pixel as black.
            weights = weights / 256.0
            bias = bias - (weights * mean[:, None, None]).sum(axis=(1, 2, 3))
        with np.errstate(over="ignore"):
            folded = [part.astype(np.float32) for part in (weights * gamma[:, None, None, None], bias * gamma + beta)]
        if not all(np.isfinite(part).all() for part in folded):
            raise ValueError("weights too large for 32 bits")
        prefix = f"conv_{len(self.nodes)}"
        names = [self.constant(f"{prefix}.{name}", part) for name, part in zip(("weight", "bias"), folded, strict=True)]
        shape, strides, pads = [side, side], [stride, stride], [padding] * 4
        return self.node("Conv", [value, *names], kernel_shape=shape, strides=strides, pads=pads)

    def relu(self, value: str) -> str:
        self.next()
        return self.node("Relu", [value])

    def pad(self, value: str, channels: int, side: int) -> str:
        """Append zero channels, rows and columns; dlib adds unequal shapes as if the smaller went on with zeros."""
        if not channels and not side:
            return value
        pads = self.constant(f"pads_{len(self.nodes)}", np.array([0, 0, 0, 0, 0, channels, side, side], np.int64))
        return self.node("Pad", [value, pads])

    def block(self, value: str, channels: int, filters: int, side: int, *, down: bool) -> tuple[str, int]:
        """One residual block; return its output and side."""
        stride = 2 if down else 1
        branch = self.convolution(value, channels, filters, side=3, stride=stride, padding=0 if down else 1)
        branch = self.convolution(self.relu(branch), filters, filters, side=3, stride=1, padding=1)
        if down:
            self.next(2, 2, 2, 2, 0, 0)
            skip = self.node("AveragePool", [value], kernel_shape=[2, 2], strides=[2, 2])
            branch_side, side = (side - 3) // 2 + 1, (side - 2) // 2 + 1
            branch = self.pad(branch, 0, side - branch_side)
            value = self.pad(skip, filters - channels, 0)
        self.next()
        return self.relu(self.node("Add", [branch, value])), side


def _build(network: DatNetwork) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    kinds = [layer.kind for layer in network.layers]
    if kinds != _expected_kinds() or (network.rows, network.columns) != (CHIP_SIZE, CHIP_SIZE):
        raise ValueError(
            f"{len(kinds)} layers over {network.rows}x{network.columns} in another order than dlib's face network"
        )
    graph = _Graph(list(network.layers))
    value = graph.convolution("input", 3, 32, side=7, stride=2, padding=0, mean=np.array(network.mean))
    value = graph.relu(value)
    graph.next(3, 3, 2, 2, 0, 0)
    value = graph.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2])
    channels, side = 32, 35
    for level, (filters, blocks) in enumerate(_LEVELS):
        for block in range(blocks):
            value, side = graph.block(value, channels, filters, side, down=bool(level) and not block)
            channels = filters
    graph.next(0, 0, 1, 1, 0, 0)
    value = graph.node("Flatten", [graph.node("GlobalAveragePool", [value])], axis=1)
    weights = graph.next(DIMENSION, channels, 1).arrays[0]
    if weights.shape != (channels, DIMENSION):
        raise ValueError(f"a last layer of shape {weights.shape}, known is {(channels, DIMENSION)}")
    graph.node("MatMul", [value, graph.constant("fc.weight", weights)], "embedding")
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "dlib_face_recognition_resnet",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, CHIP_SIZE, CHIP_SIZE])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIMENSION])],
            graph.weights,
        ),
        producer_name="facesearch_trt",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )


def onnx_from_dat(path: Path) -> onnx.ModelProto:
    """Convert dlib's ``dlib_face_recognition_resnet_model_v1.dat``.

    The model takes ``input`` float32 [batch, 3, 150, 150], RGB, 0..255, and gives ``embedding`` float32 [batch, 128].

    Raises ModelError when the file is damaged or holds another network.
    """
    network = read_dat(path)
    try:
        return _build(network)
    except ValueError as error:
        raise ModelError(
            "the weights are not dlib's face recognition network",
            where=path,
            found=error,
            remedy="Remove the file and fetch it again.",
        ) from None
