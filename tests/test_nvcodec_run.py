"""``--graph nvcodec`` from end to end: its tables against the software graph's, on doubles of the GPU and of the decoders."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.store import ClipStore
from facesearch_trt.types import Array
from tests.doubles import nvcodec
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine
from tests.doubles.nvcodec import Cuda
from tests.media import frames_of, write_clip

Out = pytest.CaptureFixture[str]
QUICK = ["--every", "25", "--detector-size", "640"]


@pytest.fixture
def pack(shared_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for real networks and a directory of engines."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the kernels for the CPU with: apt-get install g++")
    monkeypatch.setenv("FACESEARCH_MODELS", str(shared_models))
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    return ["--pack", "yunet-arcface", "--engines", str(tmp_path / "engines"), "--precision", "fp32"]


@pytest.fixture
def cuda() -> Iterator[Cuda]:
    with installed(GpuMachine(memory_bytes=16 << 30), "10.3.0") as machine, nvcodec.installed(machine) as state:
        yield state


@pytest.fixture
def root(shared_data: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "videos"
    directory.mkdir()
    shutil.copy(shared_data / "clips" / "hamilton.mp4", directory)
    return directory


def build(pack: list[str]) -> None:
    options = [word for word in pack if word not in QUICK]
    assert main(["build", *options, "--detector-size", "640"]) == 0


def faces_of(root: Path) -> list[dict[str, str]]:
    with (root / "hamilton.pipeline" / "faces.csv").open() as file:
        return list(csv.DictReader(file))


def record_of(root: Path) -> dict[str, str]:
    content: dict[str, str] = json.loads((root / "hamilton.pipeline" / "run.json").read_text())
    return content


def boxes(row: dict[str, str]) -> Array:
    return np.array([float(row[name]) for name in ("x1", "y1", "x2", "y2")])


def iou(one: Array, other: Array) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.clip(high - low, 0, None).prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))


def test_on_the_device_and_step_by_step_the_tables_are_the_same(
    cuda: Cuda, pack: list[str], root: Path, tmp_path: Path
) -> None:
    """The same pictures, looked at where NVDEC left them, and as step 1 wrote them: equal to the last digit."""
    build(pack)
    steps = tmp_path / "steps"
    steps.mkdir()
    shutil.copy(root / "hamilton.mp4", steps)
    graph, where = ["--graph", "nvcodec"], ["--input_directory", str(steps)]
    assert main(["run", *pack, *QUICK, *graph, "--input_directory", str(root)]) == 0
    assert main(["frames", "--every", "25", *graph, *where]) == 0
    assert main(["faces", *pack, "--detector-size", "640", *where]) == 0
    assert main(["embeddings", *pack, *where]) == 0
    assert main(["identity", "--pack", "yunet-arcface", *where]) == 0
    found, wanted = faces_of(root), faces_of(steps)
    assert len(found) == len(wanted) > 20
    for one, same in zip(found, wanted, strict=True):
        assert float(one.pop("enorm")) == pytest.approx(float(same.pop("enorm")), rel=1e-5)
        assert one == same
    outputs = [directory / "hamilton.pipeline" for directory in (root, steps)]
    for name in ("frames.csv", "shots.csv", "quality.csv"):
        assert (outputs[0] / name).read_text() == (outputs[1] / name).read_text()
    for row in found:
        assert (outputs[0] / row["file"]).read_bytes() == (outputs[1] / row["file"]).read_bytes()


def test_its_tables_are_those_of_the_software_graph(
    cuda: Cuda, pack: list[str], root: Path, tmp_path: Path, capsys: Out
) -> None:
    build(pack)
    waits = cuda.machine.calls["synchronize_device"]
    run = ["run", *pack, *QUICK, "--input_directory"]
    assert main([*run, str(root), "--graph", "nvcodec"]) == 0
    record = record_of(root)
    assert (record["graph"], record["backend"]) == ("nvcodec", "tensorrt")
    assert cuda.pictures == 275 and cuda.held == 0
    # One wait for the whole device per group of 8 pictures.
    assert cuda.machine.calls["synchronize_device"] - waits <= 275 // 8 + 1
    other = tmp_path / "software"
    other.mkdir()
    shutil.copy(root / "hamilton.mp4", other)
    assert main([*run, str(other), "--graph", "software"]) == 0
    assert record_of(other)["graph"] == "software"
    frames = [(directory / "hamilton.pipeline" / "frames.csv").read_text() for directory in (root, other)]
    assert frames[0] == frames[1]
    found, wanted = faces_of(root), faces_of(other)
    assert len(found) == len(wanted) > 20
    for one, same in zip(found, wanted, strict=True):
        assert one["frame_num"] == same["frame_num"] and one["face_id"] == same["face_id"]
        # GStreamer 1.22's conversion of colours is up to 6 levels off the standard, which the device way keeps to.
        assert iou(boxes(one), boxes(same)) > 0.95
    vectors = [
        np.concatenate(
            [
                frame.faces.embeddings
                for frame in ClipStore(directory / "hamilton.pipeline").load_faces(
                    with_chips=False, with_embeddings=True
                )
                if len(frame.faces)
            ]
        )
        for directory in (root, other)
    ]
    cosines = (vectors[0] * vectors[1]).sum(1) / np.linalg.norm(vectors[0], axis=1) / np.linalg.norm(vectors[1], axis=1)
    assert cosines.min() > 0.95


def test_auto_takes_it_where_the_networks_run_on_the_gpu(
    cuda: Cuda, pack: list[str], root: Path, capsys: Out, caplog: pytest.LogCaptureFixture
) -> None:
    run = ["run", *pack, "--every", "100", "--detector-size", "640", "--frames", "none", "--input_directory", str(root)]
    # Without engines the networks run on the CPU, and so does the decoding.
    assert main(run) == 0
    assert record_of(root)["graph"] == "software"
    build(pack)
    assert main([*run, "--force"]) == 0
    assert record_of(root)["graph"] == "nvcodec"


def test_auto_leaves_a_coding_that_nvdec_lacks_to_the_cpu(
    pack: list[str], root: Path, capsys: Out, caplog: pytest.LogCaptureFixture
) -> None:
    machine = GpuMachine(memory_bytes=16 << 30)
    with installed(machine, "10.3.0"), nvcodec.installed(machine, codings=("nvh265dec",)):
        build(pack)
        run = ["run", *pack, "--every", "100", "--detector-size", "640", "--frames", "none"]
        run += ["--input_directory", str(root)]
        assert main(run) == 0
        assert record_of(root)["graph"] == "software"
        assert "decoded by the software graph although there is NVDEC" in caplog.text
        # Asked for, it is never replaced.
        assert main([*run, "--graph", "nvcodec", "--force"]) == 1
    assert "no NVIDIA decoder for H.264" in capsys.readouterr().out


def test_auto_leaves_a_form_of_a_coding_that_nvdec_lacks_to_the_cpu(
    cuda: Cuda, pack: list[str], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """HEVC it has, but not of 4:2:2."""
    build(pack)
    pictures = frames_of(root / "hamilton.mp4", 150, 3)
    write_clip(root / "camera.mkv", pictures, codec="h265-422-10")
    (root / "hamilton.mp4").unlink()
    assert main(["run", *pack, *QUICK, "--frames", "none", "--input_directory", str(root)]) == 0
    record = json.loads((root / "camera.pipeline" / "run.json").read_text())
    assert record["graph"] == "software" and record["counts"]["frames"] == 1
    assert "camera: decoded by the software graph although there is NVDEC" in caplog.text
    assert "H.265, 4:2:2, 10 bits" in caplog.text


def test_a_file_that_nothing_can_read_is_no_matter_of_the_gpus(
    cuda: Cuda, pack: list[str], root: Path, caplog: pytest.LogCaptureFixture, capsys: Out
) -> None:
    build(pack)
    (root / "hamilton.mp4").write_text("no video")
    assert main(["run", *pack, *QUICK, "--frames", "none", "--input_directory", str(root)]) == 1
    assert "hamilton: FAILED" in capsys.readouterr().out
    assert "although there is NVDEC" not in caplog.text


def test_auto_leaves_pixels_that_are_not_square_to_the_cpu(
    cuda: Cuda, pack: list[str], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(pack)
    write_clip(root / "dvd.mp4", frames_of(root / "hamilton.mp4", 150, 3), pixel_aspect="4/3")
    (root / "hamilton.mp4").unlink()
    assert main(["run", *pack, *QUICK, "--frames", "none", "--input_directory", str(root)]) == 0
    assert json.loads((root / "dvd.pipeline" / "run.json").read_text())["graph"] == "software"
    assert "its pixels are not square" in caplog.text


def test_with_networks_on_the_cpu_it_decodes_only(cuda: Cuda, pack: list[str], root: Path) -> None:
    run = ["run", *pack, "--every", "100", "--backend", "onnxruntime", "--graph", "nvcodec", "--frames", "none"]
    assert main([*run, "--input_directory", str(root)]) == 0
    record = record_of(root)
    assert (record["graph"], record["backend"]) == ("nvcodec", "onnxruntime")
    assert len(faces_of(root)) > 3


def test_without_nvdec_it_is_refused(root: Path, capsys: Out) -> None:
    from facesearch_trt.graph.capabilities import has_element

    if has_element("nvh264dec"):
        pytest.skip("this machine has NVDEC")
    main(["run", "--graph", "nvcodec", "--input_directory", str(root)])
    captured = capsys.readouterr()
    assert "GStreamer has no NVIDIA decoder on this machine" in captured.out + captured.err
