"""What a user sees when something is wrong: one line that names the file and the remedy, and the other clips finished."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.cli.main import main

QUICK = ("--every", "25", "--frames", "none")


def run(root: Path, *options: str) -> int:
    return main(["run", "--input_directory", str(root), *QUICK, *options])


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return [line for line in captured.err.splitlines() if line.startswith("facesearch: ")]


@pytest.fixture
def root(tmp_path: Path, demo_clip: Path) -> Path:
    directory = tmp_path / "videos"
    directory.mkdir()
    shutil.copy2(demo_clip, directory / "good.mp4")
    return directory


def assert_good_is_finished(root: Path) -> None:
    assert (root / "good.pipeline" / "run.json").exists()
    assert len((root / "good.pipeline" / "faces.csv").read_text().splitlines()) > 2


def test_a_root_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "gone") == 2
    (line,) = error_lines(capsys)
    assert str(tmp_path / "gone") in line
    assert "does not exist" in line


def test_an_empty_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 2
    (line,) = error_lines(capsys)
    assert str(tmp_path) in line
    assert ".mp4" in line


@pytest.mark.parametrize("make", ["text", "empty", "half"])
def test_a_broken_video_among_good_ones(root: Path, make: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken = root / "broken.mp4"
    content = (root / "good.mp4").read_bytes()
    # The index of this file lies at its end, so half of it is a file that nothing can open.
    broken.write_bytes({"text": b"this is no video\n" * 50, "empty": b"", "half": content[: len(content) // 2]}[make])
    assert run(root) == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("[") and "broken" in line]
    assert "FAILED" in line
    assert "broken.mp4" in line
    assert "2 clips: 1 done, 1 failed" in out
    assert_good_is_finished(root)
    assert not (root / "broken.pipeline").exists()


def test_an_image_folder_with_a_broken_image(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / "photos"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(folder / name), np.full((64, 64, 3), 90, np.uint8))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    assert (
        main(["run", "--input_directory", str(root), "--every", "1", "--frames", "none", "--detector-size", "64"]) == 1
    )
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("[") and "photos" in line]
    assert "DAMAGED" in line
    assert "b.png" in line
    assert len((root / "photos.pipeline" / "frames.csv").read_text().splitlines()) == 3
    assert_good_is_finished(root)


def _mounted(where: Path, *options: str) -> bool:
    return (
        os.geteuid() == 0
        and subprocess.run(["mount", *options, str(where)], capture_output=True, check=False).returncode == 0
    )


def test_a_read_only_root(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (_mounted(root, "--bind", str(root)) and _mounted(root, "-o", "remount,bind,ro")):
        pytest.skip("cannot mount here: needs root and mount")
    try:
        assert run(root) == 1
        out = capsys.readouterr().out
        assert "Read-only file system" in out or "read-only" in out
        assert str(root / "good.pipeline") in out
    finally:
        subprocess.run(["umount", str(root)], check=True)


def test_a_full_disk(tmp_path: Path, demo_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not _mounted(disk, "-t", "tmpfs", "-o", "size=3m", "tmpfs"):
        pytest.skip("cannot mount here: needs root and mount")
    try:
        shutil.copy2(demo_clip, disk / "good.mp4")
        assert main(["run", "--input_directory", str(disk), "--every", "5"]) == 1
        out = capsys.readouterr().out
        assert "No space left" in out or "full" in out
        assert str(disk / "good.pipeline") in out
        assert not list(disk.glob("**/.partial"))
        # With room to write, the next run completes the job.
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert main(["run", "--input_directory", str(disk), "--every", "5"]) == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_weights_that_are_not_the_published_ones(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yunet_n.onnx").write_bytes(b"not a network")
    monkeypatch.setenv("FACESEARCH_MODELS", str(tmp_path))
    monkeypatch.setenv("FACESEARCH_HOME", str(tmp_path / "home"))
    assert run(root, "--detector", "yunet") == 1
    (line,) = error_lines(capsys)
    assert "yunet_n.onnx" in line
    assert "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12" in line


def test_an_unknown_option_in_the_yaml_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("evry: 3\n")
    assert run(root, "--config", str(tmp_path / "mine.yaml")) == 2
    (line,) = error_lines(capsys)
    assert "mine.yaml" in line
    assert "'every'" in line


def test_an_unknown_pack_and_model(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "--pack", "buffalo") == 2
    assert "buffalo_l" in error_lines(capsys)[0]
    assert run(root, "--detector", "retinaface") == 2
    assert "centerface" in error_lines(capsys)[0]


@pytest.mark.parametrize(("option", "value"), [("--backend", "tensorrt"), ("--graph", "deepstream")])
def test_a_runtime_that_is_not_there_is_an_error_and_never_a_silent_change(
    root: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have it")
    assert run(root, option, value) == 1
    assert value in " ".join(error_lines(capsys)).lower()


def test_a_step_before_its_time_names_the_step_to_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embeddings", "--input_directory", str(root)]) == 1
    assert "video_to_frames.py" in capsys.readouterr().out
