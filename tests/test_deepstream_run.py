"""``--graph deepstream`` of the program, on the doubles of DeepStream and of TensorRT: engines, run, tables, and what it refuses."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.graph.deepstream_bindings import choose_bindings
from facesearch_trt.graph.inputs import find_clips
from facesearch_trt.types import Array
from facesearch_trt.wiring import Tools
from tests.doubles import deepstream
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine
from tests.media import frames_of, write_clip

PACK = ["--pack", "yunet-arcface"]
BOX = ("x1", "y1", "x2", "y2")


@pytest.fixture
def engines(tmp_path: Path, shared_models: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("FACESEARCH_MODELS", str(shared_models))
    return ["--engines", str(tmp_path / "engines")]


@pytest.fixture(params=["pyds", "pyservicemaker"])
def double(request: pytest.FixtureRequest) -> Iterator[deepstream.State]:
    """A machine with a GPU, TensorRT and DeepStream with one of its Python APIs."""
    with installed(GpuMachine(foreign_memory=True), "10.3.0"), deepstream.installed(apis=(request.param,)) as state:
        state.tensors_on_device = True
        yield state


@pytest.fixture(scope="module")
def software(shared_data: Path, shared_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real clip and two others, of the same size at another rate and of another size and container, with the tables of
    the software graph.
    """
    root = tmp_path_factory.mktemp("software")
    hamilton = root / "hamilton.mp4"
    shutil.copy2(shared_data / "clips" / "hamilton.mp4", hamilton)
    write_clip(root / "mirrored.mp4", (frame[:, ::-1] for frame in frames_of(hamilton, 150, 40)), fps=15)
    smaller = (cv2.resize(frame, (480, 270), interpolation=cv2.INTER_AREA) for frame in frames_of(hamilton, 225, 30))
    write_clip(root / "smaller.mkv", smaller, fps=25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACESEARCH_MODELS", str(shared_models))
        assert run(root, "--graph", "software", "--backend", "onnxruntime") == 0
    return root


@pytest.fixture
def clips(software: Path, tmp_path: Path) -> Path:
    """The same clips, without results."""
    root = tmp_path / "clips"
    root.mkdir()
    for clip in software.glob("*.m[pk][4v]"):
        shutil.copy2(clip, root)
    return root


@pytest.fixture
def short(shared_data: Path, tmp_path: Path) -> Path:
    """Two clips of 12 frames and two sizes."""
    root = tmp_path / "short"
    root.mkdir()
    hamilton = shared_data / "clips" / "hamilton.mp4"
    write_clip(root / "large.mp4", frames_of(hamilton, 150, 12), fps=25)
    smaller = (cv2.resize(frame, (480, 360), interpolation=cv2.INTER_AREA) for frame in frames_of(hamilton, 150, 12))
    write_clip(root / "small.mp4", smaller, fps=25)
    return root


def table(root: Path, clip: str, name: str) -> list[dict[str, str]]:
    with (root / f"{clip}.pipeline" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def record(root: Path, clip: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((root / f"{clip}.pipeline" / "run.json").read_text())
    return content


def run(root: Path, *options: str) -> int:
    return main(["run", "--input_directory", str(root), *PACK, "--frames", "none", *options])


def boxes(rows: list[dict[str, str]]) -> Array:
    return np.array([[float(row[key]) for key in BOX] for row in rows])


def test_the_tables_are_those_of_the_software_graph(
    double: deepstream.State, clips: Path, software: Path, engines: list[str]
) -> None:
    build = ["build", *PACK, *engines, "--precision", "fp32", "--clips", str(clips)]
    assert main(build) == 0
    assert run(clips, *engines, "--graph", "deepstream", "--precision", "fp32") == 0

    for clip in ("hamilton", "mirrored", "smaller"):
        assert (record(clips, clip)["graph"], record(software, clip)["graph"]) == ("deepstream", "software")
        assert table(clips, clip, "frames.csv") == table(software, clip, "frames.csv")
        ours, theirs = table(clips, clip, "faces.csv"), table(software, clip, "faces.csv")
        assert len(ours) > 20
        assert [(row["frame_num"], row["face_num"]) for row in ours] == [
            (row["frame_num"], row["face_num"]) for row in theirs
        ]
        assert np.abs(boxes(ours) - boxes(theirs)).max() <= 1.0
        assert [row["face_id"] for row in ours] == [row["face_id"] for row in theirs]
    assert double.decoders_alive == 0


def build(root: Path, *options: str) -> None:
    assert main(["build", *PACK, *options, "--precision", "fp32", "--clips", str(root)]) == 0


def test_without_engines_it_says_how_to_build_them(
    double: deepstream.State, short: Path, engines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(short, *engines, "--graph", "deepstream", "--backend", "onnxruntime") != 0
    said = capsys.readouterr().err
    assert "there is no TensorRT engine" in said and "build_engines.py --clips" in said


def test_an_engine_of_any_size_is_none_for_the_graph(
    double: deepstream.State, short: Path, engines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *PACK, *engines, "--precision", "fp32"]) == 0
    assert run(short, *engines, "--graph", "deepstream", "--precision", "fp32") != 0
    said = capsys.readouterr().err
    assert "does not fit" in said and "of any size" in said and "build_engines.py --clips" in said


def test_auto_takes_deepstream_for_the_clips_that_have_engines(
    double: deepstream.State, short: Path, engines: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    only_large = tmp_path / "only"
    only_large.mkdir()
    shutil.copy2(short / "large.mp4", only_large)
    build(only_large, *engines)
    assert run(short, *engines, "--precision", "fp32") == 0
    assert [record(short, clip)["graph"] for clip in ("large", "small")] == ["deepstream", "software"]
    assert "small: decoded by the software graph although there is DeepStream" in caplog.text


def test_step_by_step_the_graph_decodes_and_the_networks_detect(
    double: deepstream.State, short: Path, engines: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "facesearch_trt.deepstream_tools")
    at_once = tmp_path / "at-once"
    shutil.copytree(short, at_once)
    options = [*PACK, *engines, "--precision", "fp32"]
    # The first step wants no engine.
    assert main(["frames", "--input_directory", str(short), "--graph", "deepstream"]) == 0
    assert f"DeepStream is read with {choose_bindings().name}" in caplog.text
    assert record(short, "large")["graph"] == "deepstream"
    build(short, *engines)
    assert main(["run", "--input_directory", str(at_once), *options, "--graph", "deepstream"]) == 0
    assert main(["faces", "--input_directory", str(short), *options]) == 0
    for clip in ("large", "small"):
        assert table(short, clip, "frames.csv") == table(at_once, clip, "frames.csv")
        assert np.abs(boxes(table(short, clip, "faces.csv")) - boxes(table(at_once, clip, "faces.csv"))).max() <= 1.0


def test_a_clip_that_is_none_among_good_ones(
    double: deepstream.State, short: Path, engines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (short / "letter.mp4").write_text("no video")
    build(short, *engines)
    assert "letter: no engine for it" in capsys.readouterr().out
    assert run(short, *engines, "--graph", "deepstream", "--precision", "fp32") == 1
    assert "letter" in capsys.readouterr().out
    assert len(table(short, "large", "frames.csv")) == len(table(short, "small", "frames.csv")) == 12


def test_without_deepstream_it_says_what_is_missing(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--input_directory", str(short), "--graph", "deepstream"]) != 0
    said = capsys.readouterr().err
    assert "DeepStream is not installed" in said and "nvstreammux" in said and "--graph software" in said


def test_auto_leaves_what_nvdec_cannot_decode_to_the_cpu(
    double: deepstream.State,
    short: Path,
    engines: list[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (short / "small.mp4").unlink()
    build(short, *engines)
    write_clip(short / "camera.mov", frames_of(short / "large.mp4", 0, 4), codec="prores")
    (short / "letter.mp4").write_text("no video")
    assert run(short, *engines, "--precision", "fp32") == 1
    assert [record(short, clip)["graph"] for clip in ("large", "camera")] == ["deepstream", "software"]
    assert len(table(short, "camera", "frames.csv")) == 4
    assert "camera: decoded by the software graph although there is DeepStream" in caplog.text
    assert "ProRes" in caplog.text
    assert "letter" in capsys.readouterr().out

    # Decoding alone, as in step 1, wants no engine, but a decoder.
    options = Options(pack=PACK[1], engines=engines[1], precision="fp32")
    with Tools(options) as tools:
        chosen = {clip.name: tools.sources.open(clip, detect=False).graph for clip in find_clips(short)}
    assert chosen == {"large": "deepstream", "camera": "software", "letter": "software"}

    # Asked for, it is never replaced.
    assert run(short, *engines, "--precision", "fp32", "--graph", "deepstream", "--force") == 1
    assert "DeepStream has no decoder for it" in capsys.readouterr().out
