from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from facesearch_trt.errors import ModelError
from facesearch_trt.models import onnx_graph
from facesearch_trt.models.catalogue import Catalogue
from facesearch_trt.models.convert import convert_detector, convert_embedder
from facesearch_trt.models.entries import Normalisation
from facesearch_trt.models.onnx_prelu import without_prelu

from . import making

RANDOM = np.random.default_rng(7)


def session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    if not isinstance(model, Path):
        onnx.checker.check_model(model, full_check=True)
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Published files list their weights as inputs, of which the runtime warns.
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto | Path, pixels: np.ndarray) -> list[np.ndarray]:
    opened = session(model)
    return opened.run(None, {opened.get_inputs()[0].name: pixels})


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape).astype(np.float32)


def saved(tmp_path: Path, model: onnx.ModelProto, name: str) -> tuple[Path, bytes]:
    content = model.SerializeToString()
    (tmp_path / name).write_bytes(content)
    return tmp_path / name, content


def assert_form(model: onnx.ModelProto) -> None:
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert [value.name for value in model.graph.input] == ["input"]
    assert not {value.name for value in model.graph.input} & {weight.name for weight in model.graph.initializer}


def test_centerface(catalogue: Catalogue, centerface_weights: Path) -> None:
    model = convert_detector(catalogue.detector("centerface"), centerface_weights)
    assert_form(model)
    assert [output.name for output in model.graph.output] == ["heatmap", "scale", "offset", "landmarks"]
    batch = pixels(10, 3, 32, 32)  # the size that the published file declares
    # Fed as inputs, as in the published file, weights take other kernels of the runtime than as constants.
    constant = onnx_graph.without_weight_inputs(onnx.load(centerface_weights))
    for found, same, close in zip(run(model, batch), run(constant, batch), run(centerface_weights, batch), strict=True):
        np.testing.assert_array_equal(found, same)
        np.testing.assert_allclose(found, close, rtol=1e-4, atol=1e-5)
    two = pixels(2, 3, 64, 96)
    whole = run(model, two)
    assert [output.shape for output in whole] == [(2, 1, 16, 24), (2, 2, 16, 24), (2, 2, 16, 24), (2, 10, 16, 24)]
    for found, single in zip(whole, run(model, two[1:]), strict=True):
        np.testing.assert_allclose(found[1:], single, atol=1e-5)


def test_yunet(catalogue: Catalogue, shared_models: Path) -> None:
    weights = shared_models / "yunet_n.onnx"
    model = convert_detector(catalogue.detector("yunet"), weights)
    assert_form(model)
    batch = pixels(2, 3, 96, 64)
    published = session(weights)
    names = [output.name for output in model.graph.output]
    assert names == [output.name for output in published.get_outputs()]
    for name, found, wanted in zip(names, run(model, batch), published.run(None, {"input": batch}), strict=True):
        np.testing.assert_array_equal(found, wanted, err_msg=name)


@pytest.mark.parametrize("keep_prelu", [True, False])
def test_mobilefacenet(catalogue: Catalogue, shared_models: Path, keep_prelu: bool) -> None:
    weights = shared_models / "mobilefacenet_arcface_y1.onnx"
    model = convert_embedder(catalogue.embedder("mobilefacenet-arcface"), weights, keep_prelu=keep_prelu)
    assert_form(model)
    assert ("PRelu" in {node.op_type for node in model.graph.node}) is keep_prelu
    batch = pixels(3, 3, 112, 112)
    (found,), (wanted,) = run(model, batch), run(weights, batch)
    assert np.abs(found - wanted).max() <= (0 if keep_prelu else 5e-6)
    assert np.abs(wanted).max() > 0.1


def test_scrfd_flattened_for_one_picture(tmp_path: Path) -> None:
    published = making.small_scrfd()
    path, content = saved(tmp_path, published, "scrfd.onnx")
    model = convert_detector(making.detector(content, "scrfd"), path)
    assert_form(model)
    assert [output.name for output in model.graph.output] == [
        f"{head}_{stride}" for head in ("score", "bbox", "kps") for stride in (8, 16, 32)
    ]
    batch = pixels(3, 3, 64, 96)
    found = run(model, batch)
    for place in range(3):
        for whole, wanted in zip(found, run(published, batch[place : place + 1]), strict=True):
            assert whole.shape == (3, *wanted.shape)
            np.testing.assert_allclose(whole[place], wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("inside", [False, True])
def test_embedder_fixed_to_a_batch_of_one(tmp_path: Path, inside: bool) -> None:
    published = making.small_embedder(inside=inside)
    path, content = saved(tmp_path, published, "small.onnx")
    place = Normalisation("inside") if inside else Normalisation("outside", (127.5, 127.5, 127.5), 127.5)
    model = convert_embedder(making.embedder(content, normalisation=place), path)
    assert_form(model)
    batch = pixels(4, 3, 16, 16)
    (found,) = run(model, batch)
    for row, single in zip(found, batch, strict=True):
        (wanted,) = run(published, single[None])
        np.testing.assert_allclose(row, wanted[0], rtol=1e-4)


def test_prelu_is_the_same_function() -> None:
    published = making.small_embedder(batch="batch")
    slope = onnx_graph.constants(published)["slope"]
    assert slope.min() < 0 < slope.max()
    rewritten = without_prelu(making.small_embedder(batch="batch"))
    values = RANDOM.normal(size=(1, 3, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(run(rewritten, values)[0], run(published, values)[0], rtol=1e-4, atol=1e-5)


def test_prelu_whose_slope_is_computed_is_left() -> None:
    node = onnx.helper.make_node
    nodes = [node("Relu", ["x"], ["slope"]), node("PRelu", ["x", "slope"], ["y"])]
    model = without_prelu(making.model(nodes, {"x": [1, 3]}, {"y": [1, 3]}, {}))
    assert [node.op_type for node in model.graph.node] == ["Relu", "PRelu"]


@pytest.mark.parametrize(
    ("inside", "place", "message"),
    [
        (True, Normalisation("outside", (127.5, 127.5, 127.5), 127.5), "begins with Sub"),
        (True, Normalisation("none"), "begins with Sub"),
        (False, Normalisation("inside"), "does not begin so"),
    ],
)
def test_entry_and_graph_disagree_on_normalisation(
    tmp_path: Path, inside: bool, place: Normalisation, message: str
) -> None:
    path, content = saved(tmp_path, making.small_embedder(inside=inside), "small.onnx")
    with pytest.raises(ModelError, match=message):
        convert_embedder(making.embedder(content, normalisation=place), path)


def test_leading_batch_normalisation_fits_either_way(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    nodes = [
        node("BatchNormalization", ["x", "one", "zero", "zero", "one"], ["b"]),
        node("Flatten", ["b"], ["f"]),
        node("Gemm", ["f", "fc"], ["y"]),
    ]
    weights = {"one": one, "zero": zero, "fc": RANDOM.normal(size=(768, 4)).astype(np.float32)}
    model = making.model(nodes, {"x": ["n", 3, 16, 16]}, {"y": ["n", 4]}, weights)
    path, content = saved(tmp_path, model, "small.onnx")
    for place in ("inside", "none", "outside"):
        convert_embedder(making.embedder(content, normalisation=Normalisation(place)), path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": 5}, r"shape \[None, 4\] instead of \[None, 5\]"),
        ({"chip_size": 20}, r"an input of shape \[1, 3, 16, 16\] instead of \[None, 3, 20, 20\]"),
    ],
)
def test_embedder_of_another_form(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path, content = saved(tmp_path, making.small_embedder(), "small.onnx")
    with pytest.raises(ModelError, match=message) as caught:
        convert_embedder(making.embedder(content, **changes), path)
    assert str(path) in str(caught.value)


def test_detector_of_another_form(tmp_path: Path) -> None:
    path, content = saved(tmp_path, making.small_scrfd(), "scrfd.onnx")
    for decoder in ("centerface", "yunet"):
        with pytest.raises(ModelError, match=f"form of a {decoder} detector.*9 outputs instead of"):
            convert_detector(making.detector(content, decoder), path)


def test_outputs_baked_for_one_picture_size_are_refused(tmp_path: Path) -> None:
    published = making.small_scrfd()
    for weight in published.graph.initializer:
        if weight.name == "shape_score":
            weight.CopyFrom(onnx.numpy_helper.from_array(np.array([128, 1], np.int64), "shape_score"))
    path, content = saved(tmp_path, published, "scrfd.onnx")
    with pytest.raises(ModelError, match="score_8"):
        convert_detector(making.detector(content, "scrfd"), path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x03\x04 no network", b"\x08\x07\x12\x00"])
def test_no_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a valid ONNX file"):
        convert_embedder(making.embedder(content), path)


def test_rename_makes_way() -> None:
    node = onnx.helper.make_node
    nodes = [node("Add", ["x", "input"], ["embedding"]), node("Relu", ["embedding"], ["y"])]
    model = making.model(nodes, {"x": [1, 3]}, {"y": [1, 3]}, {"input": np.ones(3, np.float32)})
    values = np.array([[-2, 0, 5]], np.float32)
    (wanted,) = run(model, values)
    renamed = onnx_graph.rename(model, {"x": "input", "y": "embedding"})
    assert [value.name for value in (*renamed.graph.input, *renamed.graph.output)] == ["input", "embedding"]
    np.testing.assert_array_equal(run(renamed, values)[0], wanted)
