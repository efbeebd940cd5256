"""Cameras through the DeepStream graph, on the doubles and with a real RTSP server that goes away and comes back."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.graph.deepstream_bindings import choose_bindings
from tests.doubles import deepstream
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine
from tests.media import frames_of, write_clip
from tests.test_live import Server

OPTIONS = ["--pack", "yunet-arcface", "--precision", "fp32", "--detector-size", "320"]


@pytest.fixture(params=["pyds", "pyservicemaker"])
def double(request: pytest.FixtureRequest) -> Iterator[deepstream.State]:
    """A machine with a GPU, TensorRT and DeepStream with one of its Python APIs."""
    with installed(GpuMachine(foreign_memory=True), "10.3.0"), deepstream.installed(apis=(request.param,)) as state:
        yield state


@pytest.fixture
def camera(shared_data: Path, tmp_path: Path) -> Iterator[Server]:
    frames = (cv2.resize(frame, (320, 180)) for frame in frames_of(shared_data / "clips" / "hamilton.mp4", 150, 120))
    server = Server(write_clip(tmp_path / "camera.mp4", frames, fps=5, codec="h264"))
    yield server
    server.off()


def interrupt(camera: Server, root: Path) -> None:
    """Switch a camera off and on once both recordings have begun."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        names = {path.name.strip(".")[:3] for path in root.iterdir()} if root.is_dir() else set()
        if {"one", "two"} <= names:
            break
        time.sleep(0.1)
    time.sleep(2)
    camera.off()
    time.sleep(1)
    camera.on()


def test_two_cameras_are_recorded_through_an_interruption(
    double: deepstream.State,
    camera: Server,
    shared_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACESEARCH_MODELS", str(shared_models))
    engines = ["--engines", str(tmp_path / "engines")]
    assert main(["build", *OPTIONS, *engines, "--frame-size", "320x180", "--batch", "2"]) == 0
    root = tmp_path / "root"
    cameras = [f"--uri=one={camera.uri()}", f"--uri=two={camera.uri()}"]
    times = ["--clip-s", "600", "--for-s", "20", "--retry-s", "0.5", "--every", "2", "--stall-timeout-s", "5"]
    command = ["live", "--input_directory", str(root), *cameras, *times, *OPTIONS, *engines, "--graph", "deepstream"]
    threading.Thread(target=interrupt, args=(camera, root), daemon=True).start()
    assert main(command) == 0
    for name in ("one", "two"):
        (clip,) = root.glob(f"{name}-*.pipeline")
        record = json.loads((clip / "run.json").read_text())
        assert record["graph"] == "deepstream" and record["live"]["interruptions"] >= 1
        with (clip / "faces.csv").open(newline="") as file:
            faces = list(csv.DictReader(file))
        assert faces and all(int(row["frame_num"]) % 2 == 0 for row in faces)
    if choose_bindings().name == "pyds":
        assert any(len(set(batch)) == 2 for batch in double.batches), "both cameras share batches"
    assert double.decoders_alive == 0
