"""Float16 and int8 ONNX files: what they hold, how near they stay, and that they are made once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.precision import Calibration, node_label, quantised_for_cpu, typed_onnx
from facesearch_trt.types import Array

from . import networks

FLOAT, HALF, INT8, INT32 = (getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "INT8", "INT32"))


def chips(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0, 255, (count, 3, networks.CHIP, networks.CHIP)).astype(np.float32)


def calibration() -> Calibration:
    return Calibration("0123456789ab", lambda: iter(np.split(chips(16, 7), 16)))


def run(path: Path, feeds: Array) -> Array:
    with OnnxRuntimeEngine(path) as engine:
        (result,) = engine.infer({"input": feeds}).values()
    return result


def cosine(a: Array, b: Array) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def test_fp32_is_simplified_and_gives_the_same(tmp_path: Path, embedder: Path) -> None:
    path = typed_onnx(embedder, "fp32", tmp_path / "onnx")
    model = onnx.load(str(path))
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["BatchNormalization"] == 0 and operators["Conv"] == 3
    assert all(node.name for node in model.graph.node)
    assert {opset.domain for opset in model.opset_import} == {""}
    np.testing.assert_allclose(run(path, chips(3)), run(embedder, chips(3)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("write", [networks.write_embedder, networks.write_centerface, networks.write_yunet])
def test_fp16_keeps_float_inputs_and_outputs_in_a_valid_file(tmp_path: Path, write: object) -> None:
    source = write(tmp_path / "net.onnx")  # type: ignore[operator]
    path = typed_onnx(source, "fp16", tmp_path)
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == FLOAT
    weights = [tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1]
    assert weights and set(weights) <= {HALF, onnx.TensorProto.INT64}
    assert [value.name for value in model.graph.output] == [value.name for value in onnx.load(str(source)).graph.output]


def test_fp16_stays_near(tmp_path: Path, embedder: Path) -> None:
    path = typed_onnx(embedder, "fp16", tmp_path)
    assert cosine(run(path, chips(8)), run(embedder, chips(8))) > 0.9999


def test_int8_is_what_tensorrt_takes(tmp_path: Path, embedder: Path) -> None:
    path = typed_onnx(embedder, "int8", tmp_path, calibration())
    model = onnx.load(str(path))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    quantisers = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(quantisers) >= 4
    for node in quantisers:
        zero = weights[node.input[2]]
        assert zero.data_type == INT8 and not onnx.numpy_helper.to_array(zero).any()
        assert node.input[0] not in weights or weights[node.input[0]].data_type != INT32
    # The outermost layers stay in float: the first convolution and the product before the output.
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul")]
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    quantised = [producers.get(node.input[1]) == "DequantizeLinear" for node in layers]
    assert quantised == [False, True, True, False]
    # Scales per channel.
    scales = [onnx.numpy_helper.to_array(weights[node.input[1]]).size for node in quantisers]
    assert 12 in scales
    assert cosine(run(path, chips(8)), run(embedder, chips(8))) > 0.99


@pytest.mark.parametrize("has_vnni", [False, True])
def test_int8_for_the_cpu_stays_near_and_fits_its_adders(tmp_path: Path, embedder: Path, has_vnni: bool) -> None:
    path = quantised_for_cpu(embedder, tmp_path, calibration(), has_vnni=has_vnni)
    model = onnx.load(str(path))
    kinds = Counter(tensor.data_type for tensor in model.graph.initializer)
    assert kinds[onnx.TensorProto.UINT8] and kinds[INT8]
    largest = max(
        np.abs(onnx.numpy_helper.to_array(tensor)).max()
        for tensor in model.graph.initializer
        if tensor.data_type == INT8 and len(tensor.dims) == 4
    )
    assert largest > 64 if has_vnni else largest <= 64
    if not has_vnni:
        assert cosine(run(path, chips(8)), run(embedder, chips(8))) > 0.99


def test_files_are_made_once_and_named_after_what_they_are_made_from(tmp_path: Path, embedder: Path) -> None:
    first = typed_onnx(embedder, "int8", tmp_path, calibration())
    stamp = first.stat().st_mtime_ns

    def never() -> object:
        raise AssertionError("calibrated again")

    assert typed_onnx(embedder, "int8", tmp_path, Calibration("0123456789ab", never)) == first  # type: ignore[arg-type]
    assert first.stat().st_mtime_ns == stamp
    assert typed_onnx(embedder, "int8", tmp_path, Calibration("another", calibration().batches)) != first
    embedder.write_bytes(embedder.read_bytes() + b"\x7a\x02x\x01")
    assert typed_onnx(embedder, "int8", tmp_path, calibration()) != first
    assert not list(tmp_path.glob(".tmp-*"))


def test_what_cannot_be_converted_is_told(tmp_path: Path, embedder: Path) -> None:
    with pytest.raises(EngineError, match=r"no such precision.*fp8.*fp32, fp16, int8"):
        typed_onnx(embedder, "fp8", tmp_path)
    with pytest.raises(EngineError, match=r"--calibrate ROOT"):
        typed_onnx(embedder, "int8", tmp_path)

    def none() -> object:
        return iter(())

    with pytest.raises(EngineError, match="cannot convert the network to int8"):
        typed_onnx(embedder, "int8", tmp_path, Calibration("empty", none))  # type: ignore[arg-type]
    model = onnx.load(str(embedder))
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", FLOAT, [1]))
    onnx.save(model, str(tmp_path / "two.onnx"))
    with pytest.raises(EngineError, match=r"no single image input.*\['input', 'other'\]"):
        typed_onnx(tmp_path / "two.onnx", "fp32", tmp_path)


def test_a_node_is_told_by_its_number(embedder: Path) -> None:
    content = embedder.read_bytes()
    assert node_label(content, 2).endswith("(PRelu)")
    assert node_label(content, 99) == "" and node_label(content, -1) == ""


def test_no_root_logger_is_touched(tmp_path: Path, embedder: Path, caplog: pytest.LogCaptureFixture) -> None:
    typed_onnx(embedder, "int8", tmp_path, calibration())
    assert not [record for record in caplog.records if record.name == "root"]
