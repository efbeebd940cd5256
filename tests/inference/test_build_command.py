"""``facesearch build`` and a run on what it built, with small networks from a user's own models.yaml."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml

from facesearch_trt.cli.main import main
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks
from .test_device_faces import picture


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags for a pack of two small networks and a directory of engines of its own."""
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    licence = {"name": "test", "commercial": True, "url": "https://example.org"}

    def entry(path: Path, **more: object) -> dict[str, object]:
        content = path.read_bytes()
        common = {"source": {"path": path.name}, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        normalisation = {"mean": [100.0, 110.0, 120.0], "std": 64.0}
        return {**common, "licence": licence, "colour": "rgb", "normalisation": normalisation, **more}

    content = {
        "models": {
            "small-detector": entry(
                networks.write_centerface(tmp_path / "detector.onnx"),
                kind="detector",
                decoder="centerface",
                multiple=32,
                score_threshold=0.5,
            ),
            "small-embedder": entry(
                networks.write_embedder(tmp_path / "embedder.onnx"),
                kind="embedder",
                template="dlib",
                chip_size=networks.CHIP,
                dimension=networks.DIMENSION,
                similarity=0.5,
                similarity_strict=0.6,
            ),
        },
        "packs": {"small": {"detector": "small-detector", "embedder": "small-embedder"}},
    }
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump(content))
    options = ["--models-file", str(file), "--pack", "small", "--engines", str(tmp_path / "engines")]
    return [*options, "--detector-size", "128"]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two folders of pictures."""
    root = tmp_path / "clips"
    for clip, seeds in {"a": (1, 2, 3), "b": (4, 5)}.items():
        (root / clip).mkdir(parents=True)
        for seed in seeds:
            cv2.imwrite(str(root / clip / f"{seed}.png"), picture(128, 96, seed))
    return root


def table(root: Path, clip: str) -> list[dict[str, str]]:
    with (root / f"{clip}.pipeline" / "faces.csv").open() as file:
        return list(csv.DictReader(file))


def test_on_a_gpu_it_builds_verifies_and_a_run_gives_the_same_faces(
    version: str, compiler: str, models: list[str], clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with installed(GpuMachine(), version) as machine:
        assert main(["build", *models, "--precision", "fp32", "--batch", "4", "--verify"]) == 0
        out = capsys.readouterr().out
        assert f"NVIDIA Double 3000, compute capability 8.6, TensorRT {version}: fp32" in out
        assert "TensorRT fp32: " in out and "as good as it should be" in out
        assert "ONNX Runtime int8: " in out and "TensorRT fp16: " in out  # not ready, with the reason
        assert machine.calls["build"] == 2
        assert main(["build", *models, "--precision", "fp32", "--batch", "4"]) == 0
        assert machine.calls["build"] == 2
        run = ["run", "--input_directory", str(clips), *models, "--precision", "fp32", "--min-face-px", "4"]
        run += ["--detect-batch", "4", "--embed-batch", "4"]
        assert main([*run, "--backend", "tensorrt"]) == 0
        assert machine.calls["execute"] > 0
        on_gpu = {clip: table(clips, clip) for clip in "ab"}
        record = json.loads((clips / "a.pipeline" / "run.json").read_text())
        assert (record["backend"], record["precision"]) == ("tensorrt", "fp32")
        assert record["backend_why"] == "as asked"
        assert main([*run, "--backend", "onnxruntime", "--force"]) == 0
    for clip, rows in on_gpu.items():
        others = table(clips, clip)
        assert len(rows) == len(others) > 3
        for a, b in zip(rows, others, strict=True):
            assert a["frame_num"] == b["frame_num"]
            for column in ("x1", "y1", "x2", "y2", "left_eye_x", "nose_y", "enorm"):
                assert float(a[column]) == pytest.approx(float(b[column]), abs=0.02)


def test_fp16_is_the_default_on_a_gpu(
    compiler: str, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with installed(GpuMachine(), "11.4.0.106"):
        assert main(["build", *models, "--models", "small-embedder"]) == 0
        assert main(["build", *models, "--list"]) == 0
    out = capsys.readouterr().out
    assert "small-embedder fp16, batch 32, TensorRT 11.4.0.106, NVIDIA Double 3000 (sm 8.6" in out
    assert "fits this machine" in out
    (engine,) = (tmp_path / "engines").glob("*.engine")
    engine.write_bytes(b"cut")
    with installed(GpuMachine(name="NVIDIA T4", compute_capability=(7, 5)), "11.4.0.106"):
        assert main(["build", *models, "--list"]) == 0
    assert "of another machine, DAMAGED" in capsys.readouterr().out


def test_engines_are_built_from_the_network_with_its_own_prelu(
    compiler: str, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorRT has a PRelu; ONNX Runtime's is slow, so its file has none. Each runtime gets its own."""
    with installed(GpuMachine(), "10.3.0"):
        assert main(["build", *models, "--models", "small-embedder"]) == 0
    with_prelu, without = (
        {
            path
            for path in (tmp_path / "home" / "models").glob("small-embedder-*.onnx")
            if ("-prelu" in path.name) is one
        }
        for one in (True, False)
    )
    (kept,), (plain,) = with_prelu, without
    operators = [{node.op_type for node in onnx.load(str(path)).graph.node} for path in (kept, plain)]
    assert "PRelu" in operators[0] and "PRelu" not in operators[1]
    (side,) = (tmp_path / "engines").glob("*.json")
    built_from = json.loads(side.read_text())["key"]["onnx_sha256"]
    assert built_from == hashlib.sha256(kept.read_bytes()).hexdigest()
    typed = tmp_path / "engines" / "onnx" / json.loads(side.read_text())["onnx"]
    assert "PRelu" in {node.op_type for node in onnx.load(str(typed)).graph.node}


def test_int8_is_calibrated_with_the_users_clips_and_its_cost_is_told(
    compiler: str, models: list[str], clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "--input_directory", str(clips), *models, "--min-face-px", "4", "--backend", "onnxruntime"]
    assert main(run) == 0
    with installed(GpuMachine(), "10.3.0"):
        assert main(["build", *models, "--precision", "int8", "--calibrate", str(clips), "--batch", "4"]) == 0
    out = capsys.readouterr().out
    assert "small-detector: int8 against fp32: " in out and "box IoU" in out
    assert "small-embedder: int8 against fp32: cosine 0.9" in out


def test_without_a_gpu_it_prepares_onnx_runtime_and_says_so(
    models: list[str], clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with installed(GpuMachine(driver_version=0), "10.3.0"):
        assert main(["build", *models]) == 0
        out = capsys.readouterr().out
        assert "small-detector: ready for ONNX Runtime: " in out and "(input [any, 3, any, any])" in out
        assert "No TensorRT engine was built: " in out and "no CUDA-capable device" in out
        run = ["run", "--input_directory", str(clips), *models, "--min-face-px", "4"]
        assert main(run) == 0
        assert main(["build", *models, "--precision", "int8", "--calibrate", str(clips), "--verify"]) in (0, 1)
        out = capsys.readouterr().out
        assert "small-embedder: int8 is " in out and "times as fast as fp32; cosine" in out
        assert "offered" in out and "ONNX Runtime int8: " in out
        # Where it gains it is used; where not, fp32 is and a warning says so. Both end well.
        assert main([*run, "--precision", "int8", "--force"]) == 0
        assert main(["build", *models, "--backend", "tensorrt"]) == 1
    assert "TensorRT cannot be used: " in capsys.readouterr().err


def test_calibration_wants_finished_clips_with_faces(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = ["build", *models, "--precision", "int8"]
    assert main(build) == 1
    assert "--calibrate ROOT" in capsys.readouterr().err
    assert main([*build, "--calibrate", str(tmp_path / "nowhere")]) == 2
    assert "no such directory" in capsys.readouterr().err
    (tmp_path / "raw").mkdir()
    assert main([*build, "--calibrate", str(tmp_path / "raw")]) == 2
    assert "no finished clip to calibrate with" in capsys.readouterr().err
    blank = tmp_path / "blank" / "grey"
    blank.mkdir(parents=True)
    cv2.imwrite(str(blank / "1.png"), np.full((96, 128, 3), 128, np.uint8))
    run = ["run", "--input_directory", str(blank.parent), *models, "--score-threshold", "0.999"]
    assert main(run) == 0
    capsys.readouterr()
    assert main([*build, "--calibrate", str(blank.parent)]) == 1
    assert "no faces to calibrate with" in capsys.readouterr().err


def test_a_model_that_is_not_in_the_catalogue(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", *models, "--models", "retinaface"]) == 2
    assert "small-detector" in capsys.readouterr().err


def test_the_benchmark_measures_what_it_says(
    compiler: str, models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the double the figures mean nothing; that all of it runs, and its limits, are what is tested."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    output = tmp_path / "table.md"
    arguments = [
        "bench_gpu.py",
        "--models-file",
        models[1],
        "--pack",
        "small",
        "--engines",
        models[5],
        "--size",
        "64x32",
    ]
    monkeypatch.setattr(sys, "argv", [*arguments, "--batches", "1", "2", "--seconds", "0.01", "--output", str(output)])
    import bench_gpu  # type: ignore[import-not-found]
    import card_limits  # type: ignore[import-not-found]

    with installed(GpuMachine(), "10.3.0"):
        bench_gpu.main()
    rows = [line for line in output.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 2 * 2 * 2 + 1 + 2 * 2
    assert sum("small-detector 64x32 | fp16 | 2 |" in row for row in rows) == 1
    # The head: 16 * 3 * 4 * 4 weights at stride 4, over 16 x 8 cells.
    cost = card_limits.network_cost(tmp_path / "detector.onnx", 32, 64)
    assert cost.weights == 15 * 3 * 4 * 4
    assert cost.flops == 2 * cost.weights * 16 * 8
