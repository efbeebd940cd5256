"""The whole job on the demo clip with the real networks: one pass, four steps, resume, kills."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt import demo
from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.plan import planned_keys, source_of
from facesearch_trt.store.pth import read_pth
from facesearch_trt.store.record import Source
from facesearch_trt.types import Clip
from facesearch_trt.wiring import Tools
from tests.faults.clips import QUICK, make_clips

EVERY = "5"
"""Frames between two that are used: the clip's people and shots, in a fifth of the time."""

TABLES = ("frames.csv", "frame_tbl.csv", "shots.csv", "faces.csv", "quality.csv")


@pytest.fixture
def root(tmp_path: Path, demo_clip: Path) -> Path:
    directory = tmp_path / "videos"
    directory.mkdir()
    shutil.copy2(demo_clip, directory / "demo.mp4")
    return directory


@pytest.fixture(scope="module")
def finished(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an undisturbed run; only for reading."""
    directory = tmp_path_factory.mktemp("finished")
    shutil.copy2(demo_clip, directory / "demo.mp4")
    assert main(["run", "--input_directory", str(directory), "--every", EVERY]) == 0
    return directory / "demo.pipeline"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def assert_same(one: Path, other: Path) -> None:
    assert files(one) == files(other)
    for name in TABLES:
        assert (one / name).read_text() == (other / name).read_text(), name
    for name in files(one):
        if name.endswith(".png"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    first, second = read_pth(one / "embeddings.pth"), read_pth(other / "embeddings.pth")
    np.testing.assert_allclose(first.embeddings, second.embeddings, atol=1e-5)
    np.testing.assert_array_equal(first.face_num, second.face_num)


def test_the_demo_is_solved(finished: Path) -> None:
    found = rows(finished / "faces.csv")
    truth = [row for row in demo.truth() if row[0] % int(EVERY) == 0]
    assert len(found) == len(truth)
    people: dict[str, set[str]] = {}
    for frame_num, x1, y1, x2, y2, person in truth:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        (face,) = [
            row
            for row in found
            if int(row["frame_num"]) == frame_num
            and float(row["x1"]) < x < float(row["x2"])
            and float(row["y1"]) < y < float(row["y2"])
        ]
        people.setdefault(person, set()).add(face["face_id"])
    assert people == {"collins": {"0"}, "obama": {"1"}, "biden": {"2"}}


def test_the_contract_of_the_output(finished: Path) -> None:
    frames = rows(finished / "frames.csv")
    assert [row["frame_num"] for row in frames] == [str(n) for n in range(0, 175, int(EVERY))]
    assert list(frames[0]) == ["frame_num", "pts_s", "width", "height", "file"]
    assert frames[1]["file"] == "frame_0005.png"
    assert float(frames[1]["pts_s"]) == pytest.approx(0.2, abs=1e-6)
    faces = rows(finished / "faces.csv")
    assert list(faces[0])[-4:] == ["file", "enorm", "track_id", "face_id"]
    stored = read_pth(finished / "embeddings.pth")
    np.testing.assert_array_equal(stored.face_num, [int(row["face_num"]) for row in faces])
    norms = np.linalg.norm(np.asarray(stored.embeddings, np.float64), axis=1)
    np.testing.assert_allclose(norms, [float(row["enorm"]) for row in faces], atol=1e-6)
    assert stored.model == "dlib-resnet"
    record = json.loads((finished / "run.json").read_text())
    assert (record["backend"], record["precision"]) == ("onnxruntime", "fp32")
    assert record["backend_why"]
    assert record["graph"] == "software"
    assert {state["state"] for state in record["steps"].values()} == {"done"}
    assert set(record["steps"]) == {"frames", "faces", "embeddings", "identity"}
    assert {row["shot"] for row in rows(finished / "shots.csv")} == {"0", "1", "2"}


def test_four_steps_give_what_one_pass_gives(root: Path, finished: Path) -> None:
    for command in ("frames", "faces", "embeddings", "identity"):
        options = ["--every", EVERY] if command == "frames" else []
        assert main([command, "--input_directory", str(root), *options]) == 0
    assert_same(root / "demo.pipeline", finished)
    # And the single pass sees that nothing is left to do.
    before = (root / "demo.pipeline" / "run.json").stat().st_mtime_ns
    assert main(["run", "--input_directory", str(root), "--every", EVERY]) == 0
    assert (root / "demo.pipeline" / "run.json").stat().st_mtime_ns == before


def test_only_what_changed_is_done_again(root: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = root / "demo.pipeline"
    shutil.copytree(finished, output)
    run = ["run", "--input_directory", str(root), "--every", EVERY]
    assert main(run) == 0
    assert "already complete" in capsys.readouterr().out
    embeddings = (output / "embeddings.pth").stat().st_mtime_ns
    assert main([*run, "--similarity-threshold", "0.999"]) == 0
    assert (output / "embeddings.pth").stat().st_mtime_ns == embeddings
    assert len({row["face_id"] for row in rows(output / "faces.csv")}) > 3
    assert main(run) == 0
    assert_same(output, finished)
    (output / "faces.csv").unlink()
    assert main(run) == 0
    assert_same(output, finished)


def test_another_precision_does_the_networks_work_again() -> None:
    source = Source("clip.mp4", 1, 2)
    with Tools(Options(precision="fp32")) as one, Tools(Options(precision="int8")) as other:
        first, second = planned_keys(source, one), planned_keys(source, other)
    assert {step for step in first if first[step] == second[step]} == {"frames"}


def test_every_change_to_an_image_folder_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(b"1234")
        os.utime(folder / name, ns=(0, 7_000_000_000))
    clip = Clip("photos", folder, "images", tmp_path / "photos.pipeline")
    found = [source_of(clip, None)]
    (folder / "b.png").rename(folder / "d.png")
    found.append(source_of(clip, None))
    # Now two have changed places.
    (folder / "a.png").write_bytes(b"12")
    (folder / "c.png").write_bytes(b"123456")
    for name in ("a.png", "c.png"):
        os.utime(folder / name, ns=(0, 7_000_000_000))
    found.append(source_of(clip, None))
    os.utime(folder / "a.png", ns=(0, 6_000_000_000))
    found.append(source_of(clip, None))
    assert {(source.size, source.mtime_ns) for source in found} == {(12, 7_000_000_000)}
    with Tools(Options()) as tools:
        assert len({planned_keys(source, tools)["frames"] for source in found}) == 4
        # What is not an image changes nothing, nor does the folder's own time.
        (folder / "notes.txt").touch()
        assert planned_keys(source_of(clip, None), tools) == planned_keys(found[-1], tools)


@pytest.mark.parametrize("keep", ["faces", "none"])
def test_pictures_are_kept_as_asked(root: Path, keep: str) -> None:
    # At this threshold only the first shot's faces remain in some frames.
    assert main(["run", "--input_directory", str(root), "--every", EVERY, "--frames", keep, "--min-face-px", "92"]) == 0
    output = root / "demo.pipeline"
    with_faces = {row["frame_num"] for row in rows(output / "faces.csv")}
    kept = {row["frame_num"] for row in rows(output / "frames.csv") if row["file"]}
    assert kept == (with_faces if keep == "faces" else set())
    assert len(list(output.glob("frame_*.png"))) == len(kept)
    assert 0 < len(with_faces) < 35
    # Step by step the same pictures are left.
    one_pass = root / ".one_pass"
    output.rename(one_pass)
    for command in ("frames", "faces", "embeddings", "identity"):
        options = {"frames": ["--every", EVERY, "--frames", keep], "faces": ["--frames", keep, "--min-face-px", "92"]}
        assert main([command, "--input_directory", str(root), *options.get(command, [])]) == 0
    assert_same(output, one_pass)


@pytest.mark.parametrize("moment", range(3))
def test_a_killed_run_is_completed_by_the_next(root: Path, finished: Path, moment: int) -> None:
    command = [sys.executable, "-m", "facesearch_trt", "run", "--input_directory", str(root), "--every", EVERY]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    output = root / "demo.pipeline"
    # From the first sign of work on, at a random moment of it.
    while process.poll() is None and not output.exists():
        time.sleep(0.01)
    time.sleep(random.Random(moment).uniform(0, 3))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert main(["run", "--input_directory", str(root), "--every", EVERY]) == 0
    assert_same(output, finished)
    assert {path.name for path in root.iterdir()} == {
        "demo.mp4",
        "demo.pipeline",
        "people.csv",
        ".people.npz",
        "last_run.json",
        "report.html",
    }


def test_a_step_leaves_the_options_of_the_others_recorded(tmp_path: Path) -> None:
    root = make_clips(tmp_path / "root", "a")
    told = {
        "frames": ["--every", "5", "--frames", "faces", "--png-compression", "3"],
        "faces": [
            "--frames",
            "faces",
            "--detector-size",
            "64",
            "--no-crops",
            "--png-compression",
            "3",
            "--backend",
            "onnxruntime",
        ],
        "embeddings": ["--no-crops", "--backend", "onnxruntime"],
        "identity": ["--similarity-threshold", "0.9"],
    }
    for step, flags in told.items():
        assert main([step, "--input_directory", str(root), *flags]) == 0
    options = json.loads((root / "a.pipeline" / "run.json").read_text())["options"]
    wanted = {"every": 5, "frames": "faces", "detector_size": 64, "crops": False, "similarity_threshold": 0.9}
    wanted |= {"png_compression": 3, "backend": "onnxruntime"}
    assert {name: options[name] for name in wanted} == wanted
    # The whole job has its own word on all of them.
    assert main(["run", "--input_directory", str(root), *QUICK, "--every", "2"]) == 0
    options = json.loads((root / "a.pipeline" / "run.json").read_text())["options"]
    assert (options["every"], options["crops"], options["similarity_threshold"]) == (2, True, None)
