"""An ONNX in the precision that is wanted: simplified, in float16, or quantised to int8.

Precision is decided in the file, since TensorRT 11 takes it from nowhere else and 8.6 and 10 can take it from there.
Inputs and outputs stay float32, so that an engine is fed and read the same way in any precision.

ONNX Runtime brings all tools: its offline optimisation folds constants and batch normalisation (YuNet 175 to 115
nodes, ArcFace y1 247 to 198; CenterFace and dlib's network have nothing left to fold), so neither onnxsim nor onnxslim
is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import EngineError
from ..types import Array
from .files import file_sha256, write_atomic

__all__ = ["PRECISIONS", "Calibration", "node_label", "quantised_for_cpu", "typed_onnx"]

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
_FORMAT = 1  # Part of the files' names: a new way of making them makes new files.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the ranges of an int8 network are measured on."""

    digest: str
    """Changes when the data do."""
    batches: Callable[[], Iterator[Array]]
    """Each call goes through the data once: float32 [B, 3, H, W], as the network takes them."""


def typed_onnx(source: Path, precision: str, directory: Path, calibration: Calibration | None = None) -> Path:
    """Return an ONNX file for TensorRT with the wanted precision, made on first use and kept in ``directory``.

    Parameters
    ----------
    source: the network in float32, one input [B, 3, H, W].
    calibration: for "int8" only, and needed there.

    Raises EngineError where the precision is unknown, calibration is missing or the file cannot be converted.
    """
    if precision not in PRECISIONS:
        raise EngineError("there is no such precision", asked=precision, found=", ".join(PRECISIONS))
    if precision == "int8" and calibration is None:
        raise EngineError(
            "int8 needs pictures to measure the network's ranges on",
            where=source.name,
            remedy="Give a directory of finished clips with --calibrate ROOT.",
        )
    make = {"fp32": _simplified, "fp16": _halved, "int8": lambda model: _quantised(model, calibration)}[precision]
    data = calibration.digest[:8] if calibration and precision == "int8" else ""
    return _kept(source, f"{precision}{data}", directory, make)


def quantised_for_cpu(source: Path, directory: Path, calibration: Calibration, *, has_vnni: bool) -> Path:
    """Return an int8 ONNX for ONNX Runtime on a CPU, made on first use and kept in ``directory``.

    It differs from TensorRT's: activations are uint8 with a zero point, which the CPU's kernels are written for, and
    weights have 7 bits where the CPU adds products in 16 bits (no VNNI) and would overflow.
    """
    name = f"cpu-int8{'' if has_vnni else 'r'}{calibration.digest[:8]}"
    return _kept(source, name, directory, lambda model: _quantised_cpu(model, calibration, reduce_range=not has_vnni))


def node_label(onnx_bytes: bytes, index: int) -> str:
    """Return name and operator of a node by its number in the file, for TensorRT versions that tell no more; "" for
    none."""
    import onnx

    nodes = onnx.load_from_string(onnx_bytes).graph.node
    return f"{nodes[index].name} ({nodes[index].op_type})" if 0 <= index < len(nodes) else ""


def _kept(source: Path, what: str, directory: Path, make: Callable[[Any], Any]) -> Path:
    import onnx

    path = directory / f"{source.stem}-{file_sha256(source)[:8]}-{what}-{_FORMAT}.onnx"
    if path.exists():
        return path
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError("cannot make the directory", where=directory, found=error) from error
    try:
        model = make(_simplified(_load(source)))
        onnx.checker.check_model(model)
    except EngineError:
        raise
    except Exception as error:  # The converters raise whatever their libraries do.
        raise EngineError(f"cannot convert the network to {what}", where=source, found=error) from error
    write_atomic(path, model.SerializeToString())
    return path


def _load(source: Path) -> Any:
    import onnx

    try:
        model = onnx.load(str(source))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's and onnx's errors have no common base.
        raise EngineError("cannot read the network", where=source, found=error) from error
    images = [one for one in model.graph.input if one.name not in {weight.name for weight in model.graph.initializer}]
    if len(images) != 1 or len(images[0].type.tensor_type.shape.dim) != 4:
        raise EngineError(
            "the network has no single image input",
            where=source,
            asked="[B, 3, H, W]",
            found=[one.name for one in images],
        )
    return model


def _simplified(model: Any) -> Any:
    import onnx
    import onnxruntime

    if any(prop.key == _PREPARED for prop in model.metadata_props):
        return model
    options = onnxruntime.SessionOptions()
    # Basic keeps to ONNX's own operators; the higher levels do not.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as scratch:
        options.optimized_model_filepath = str(Path(scratch) / "simplified.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        model = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in model.graph.node}
    opsets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    # Error messages name nodes, and exclusion from quantisation does too.
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    onnx.helper.set_model_props(model, {_PREPARED: "onnxruntime.quant"})
    return model


# ONNX Runtime's quantiser looks for this mark of a simplified file and complains without it.
_PREPARED = "onnx.quant.pre_process"


def _halved(model: Any) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(model, keep_io_types=True)
    # The converter appends its casts; ONNX wants every node after those it reads from.
    ready = {one.name for one in (*model.graph.input, *model.graph.initializer)} | {""}
    waiting, ordered = list(model.graph.node), []
    while waiting:
        free = [node for node in waiting if ready.issuperset(node.input)]
        if not free:
            raise EngineError("the converted network has a loop", found=waiting[0].name)
        ordered += free
        ready.update(name for node in free for name in node.output)
        placed = {id(node) for node in free}
        waiting = [node for node in waiting if id(node) not in placed]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    return model


def _quantised(model: Any, calibration: Calibration | None) -> Any:
    assert calibration is not None
    # TensorRT's rules: int8 on both sides, symmetric, and no int32 bias. The layers next to the pixels and to the
    # outputs cost little time and much accuracy: they stay as they are.
    return _quantise(
        model,
        calibration,
        activations="QInt8",
        exclude=_outer_layers(model),
        reduce_range=False,
        options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "QuantizeBias": False,
        },
    )


def _quantised_cpu(model: Any, calibration: Calibration, *, reduce_range: bool) -> Any:
    return _quantise(
        model,
        calibration,
        activations="QUInt8",
        exclude=[],
        reduce_range=reduce_range,
        options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )


def _quantise(
    model: Any,
    calibration: Calibration,
    *,
    activations: str,
    exclude: list[str],
    reduce_range: bool,
    options: dict[str, bool],
) -> Any:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    name = model.graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = calibration.batches()

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self.batches, None)
            return None if batch is None else {name: batch}

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "quantised.onnx"
        quantize_static(
            model,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType[activations],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=reduce_range,
            nodes_to_exclude=exclude,
            # Keeps only the extremes of each tensor in memory, whatever the number of pictures.
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=options,
        )
        return onnx.load(str(target))


def _outer_layers(model: Any) -> list[str]:
    producers = {name: node for node in model.graph.node for name in node.output}

    def layer_before(name: str) -> str | None:
        node = producers.get(name)
        while node is not None and node.op_type not in _WEIGHTED:
            node = producers.get(node.input[0])
        return None if node is None else node.name

    first = next((node.name for node in model.graph.node if node.op_type in _WEIGHTED), None)
    names = [first, *(layer_before(output.name) for output in model.graph.output)]
    return list(dict.fromkeys(name for name in names if name))
