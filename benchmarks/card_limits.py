"""What a network asks for, and what a GPU can give: the arithmetic and the memory traffic that bound images per second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from facesearch_trt.inference.device import CudaDevice

__all__ = ["Cost", "card_limits", "network_cost"]

# Multiply-adds per clock and multiprocessor, dense: (float32 cores, float16 tensor cores); int8 is twice float16. From NVIDIA's
# architecture white papers; H100: 132 * 1.83 GHz * 2 * 2048 = 989 TFLOPS, T4: 40 * 1.59 GHz * 2 * 512 = 65 TFLOPS.
_PER_CLOCK = {
    "7.5": (64, 512),
    "8.0": (64, 1024),
    "8.6": (128, 512),
    "8.7": (128, 1024),
    "8.9": (128, 512),
    "9.0": (128, 2048),
}
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Cost:
    """Of one image."""

    flops: float
    """Two per multiply-add of convolutions and products."""
    values: float
    """Numbers that these layers read and write, each layer by itself; weights are counted apart."""
    weights: float
    """Numbers that are read once per batch."""

    def bytes(self, precision: str, batch: int) -> float:
        """Memory traffic per image where no layer's result stays on the chip."""
        return _BYTES[precision] * (self.values + self.weights / batch)


def network_cost(path: Path, height: int, width: int) -> Cost:
    """Count a network's work for one image of this size."""
    model = onnx.load(str(path))
    for size, dimension in zip((1, 3, height, width), model.graph.input[0].type.tensor_type.shape.dim, strict=True):
        dimension.dim_value = size
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    model = shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    constants = {
        node.output[0]: helper.get_attribute_value(node.attribute[0])
        for node in graph.node
        if node.op_type == "Constant"
    }
    weights |= {
        name: list(numpy_helper.to_array(value).shape) for name, value in constants.items() if hasattr(value, "dims")
    }
    flops = values = parameters = 0.0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.input[1] not in weights:
            continue
        kernel, source, target = weights[node.input[1]], shapes[node.input[0]], shapes[node.output[0]]
        # A multiply-add per kernel value and position: of the output, or of the input where the convolution spreads.
        places = {"Conv": np.prod(target[2:]), "ConvTranspose": np.prod(source[2:])}.get(node.op_type, 1)
        flops += 2 * float(np.prod(kernel)) * float(places)
        values += float(np.prod(source) + np.prod(target))
        parameters += float(np.prod(kernel))
    return Cost(flops, values, parameters)


def card_limits(device: CudaDevice) -> dict[str, float]:
    """Return the card's peak: FLOP/s for "fp32", "fp16" and "int8" (0 where the architecture is not in the table), bytes/s for "memory"."""
    clock_hz = device.attribute("CLOCK_RATE") * 1000
    per_clock = _PER_CLOCK.get(device.compute_capability, (0, 0))
    single, half = (2 * count * device.attribute("MULTIPROCESSOR_COUNT") * clock_hz for count in per_clock)
    memory = 2 * device.attribute("MEMORY_CLOCK_RATE") * 1000 * device.attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
    return {"fp32": float(single), "fp16": float(half), "int8": float(2 * half), "memory": float(memory)}
