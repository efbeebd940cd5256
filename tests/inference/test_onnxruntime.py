from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.engine import TensorSpec
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine


def write_network(path: Path, shape: list[int | str], *, operator: str = "Mul") -> Path:
    """Write a network with y = 2 x, and z = the sum of x over all but the batch."""
    graph = helper.make_graph(
        [
            helper.make_node(operator, ["x", "two"], ["y"]),
            helper.make_node("ReduceSum", ["x", "axes"], ["z"], keepdims=0),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, shape[:1]),
        ],
        [
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array(np.arange(1, len(shape)), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path / "net.onnx", ["B", 3, "H", "W"])


def test_it_describes_the_network_in_its_own_order(network: Path) -> None:
    with OnnxRuntimeEngine(network) as engine:
        assert engine.inputs == {"x": TensorSpec("x", (None, 3, None, None), "float32")}
        assert list(engine.outputs.items()) == [
            ("y", TensorSpec("y", (None, 3, None, None), "float32")),
            ("z", TensorSpec("z", (None,), "float32")),
        ]
        assert engine.max_batch == sys.maxsize


def test_a_fixed_batch_is_the_largest(tmp_path: Path) -> None:
    with OnnxRuntimeEngine(write_network(tmp_path / "net.onnx", [4, 3, 8, 8])) as engine:
        assert engine.max_batch == 4


def test_it_runs_the_network_at_any_size_and_batch(network: Path) -> None:
    random = np.random.default_rng(0)
    with OnnxRuntimeEngine(network) as engine:
        for shape in ((1, 3, 4, 5), (7, 3, 9, 2), (1, 3, 4, 5), (0, 3, 2, 2)):
            x = random.normal(size=shape).astype(np.float32)
            result = engine.infer({"x": x})
            assert list(result) == ["y", "z"]
            np.testing.assert_array_equal(result["y"], x * 2)
            np.testing.assert_allclose(result["z"], x.sum(axis=(1, 2, 3)), rtol=1e-5, atol=1e-5)


def test_results_belong_to_the_caller(network: Path) -> None:
    x = np.ones((1, 3, 2, 2), np.float32)
    with OnnxRuntimeEngine(network) as engine:
        first = engine.infer({"x": x})["y"]
        engine.infer({"x": x * 5})
        first += 1
    np.testing.assert_array_equal(first, x * 3)


def test_many_threads_at_once(network: Path) -> None:
    start = threading.Barrier(4, timeout=20)

    def work(number: int) -> bool:
        if number < 4:
            start.wait()
        x = np.full((1 + number % 3, 3, 8 + number, 16), number, np.float32)
        return bool((engine.infer({"x": x})["y"] == 2 * number).all())

    with OnnxRuntimeEngine(network) as engine, ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(60)))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"data": np.zeros((1, 3, 2, 2), np.float32)}, r"wrong input names .*data.*x"),
        ({}, "wrong input names"),
        ({"x": np.zeros((1, 3, 2, 2))}, r"'x' does not fit .*float64 \[1, 3, 2, 2\].*float32 \[any, 3, any, any\]"),
        ({"x": np.zeros((1, 3, 2, 2), np.uint8)}, "'x' does not fit"),
        ({"x": np.zeros((3, 2, 2), np.float32)}, "'x' does not fit"),
        ({"x": np.zeros((1, 4, 2, 2), np.float32)}, r"'x' does not fit .*\[1, 4, 2, 2\]"),
    ],
)
def test_what_does_not_fit_is_refused(network: Path, feeds: dict[str, np.ndarray], message: str) -> None:
    with OnnxRuntimeEngine(network) as engine, pytest.raises(EngineError, match=message) as error:
        engine.infer(feeds)
    assert str(network) in str(error.value)


def test_a_failing_run_is_an_error_and_makes_no_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The graph adds maps of two sizes where the input is odd, as detectors do with sizes that are no multiple."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 1, "H", "W"]) for name in "xy")
    halve = {"kernel_shape": [2, 2], "strides": [2, 2]}
    graph = helper.make_graph(
        [
            helper.make_node("MaxPool", ["x"], ["small"], **halve),
            helper.make_node("Resize", ["small", "", "scales"], ["large"]),
            helper.make_node("Add", ["x", "large"], ["y"]),
        ],
        "net",
        [x],
        [y],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")],
    )
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with OnnxRuntimeEngine(path) as engine:
        assert engine.infer({"x": np.ones((1, 1, 4, 4), np.float32)})["y"].shape == (1, 1, 4, 4)
        with pytest.raises(EngineError, match=r"odd.onnx: ONNX Runtime could not run .*x float32 \[1, 1, 5, 5\]"):
            engine.infer({"x": np.ones((1, 1, 5, 5), np.float32)})
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_file_that_is_no_network_is_an_error_and_makes_no_noise(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    write_network(tmp_path / "odd.onnx", [1, 3, 2, 2], operator="NoSuchOperator")
    for name in ("text.onnx", "missing.onnx", "odd.onnx"):
        with pytest.raises(EngineError, match=f"{name}: ONNX Runtime cannot load the network"):
            OnnxRuntimeEngine(tmp_path / name)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_missing_provider_is_an_error(network: Path) -> None:
    with pytest.raises(EngineError, match=r"lacks an execution provider .*NoSuchProvider.*CPUExecutionProvider"):
        OnnxRuntimeEngine(network, providers=("NoSuchProvider", "CPUExecutionProvider"))


def test_a_provider_that_does_not_start_is_an_error(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime lists a provider whose libraries it then fails to load, and goes on without it."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, options, providers: real(path, options, providers=providers[-1:])
    )
    with pytest.raises(EngineError, match=r"did not start .*CUDAExecutionProvider.*CPUExecutionProvider"):
        OnnxRuntimeEngine(network, providers=("CUDAExecutionProvider", "CPUExecutionProvider"))


def test_after_it_was_left_it_runs_no_more(network: Path) -> None:
    with OnnxRuntimeEngine(network) as engine:
        pass
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"x": np.zeros((1, 3, 2, 2), np.float32)})


def test_inputs_and_outputs_of_other_types(tmp_path: Path) -> None:
    types = {
        "float16": TensorProto.FLOAT16,
        "float64": TensorProto.DOUBLE,
        "uint8": TensorProto.UINT8,
        "int64": TensorProto.INT64,
        "bool": TensorProto.BOOL,
    }
    for name, kind in types.items():
        value = helper.make_tensor_value_info("x", kind, [2])
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], "n", [value], [helper.make_tensor_value_info("y", kind, [2])]
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        with OnnxRuntimeEngine(path) as engine:
            assert engine.inputs["x"].dtype == name
            assert engine.infer({"x": np.ones(2, name)})["y"].dtype == name
