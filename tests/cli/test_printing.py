"""What is printed: names that are no text, a reader that goes away, and mistakes that end with one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.cli.progress import LineWatcher, outcome_line
from facesearch_trt.cli.text import safe
from facesearch_trt.running.runner import Outcome
from facesearch_trt.types import Clip
from tests.faults.clips import QUICK, make_clips

STRANGE = os.fsdecode(b"bad\xff\x1b[31m")


def facesearch(
    *arguments: str, encoding: str = "utf-8:strict", **keywords: object
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "FACESEARCH_IN_PROCESS": "1"}
    command = [sys.executable, "-m", "facesearch_trt", *arguments]
    return subprocess.run(command, env=environment, capture_output=not keywords, check=False, **keywords)  # type: ignore[call-overload, no-any-return]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    root = make_clips(tmp_path / "root", "a", "b")
    (root / "a.mp4").rename(root / f"{STRANGE}.mp4")
    done = facesearch("run", "--input_directory", str(root), *QUICK)
    # GStreamer takes no such path; the other clip is done all the same.
    assert done.returncode == 1, done.stdout + done.stderr
    assert rb"bad\udcff\x1b[31m: FAILED: " in done.stdout
    assert b"\x1b" not in done.stdout
    assert b"1 done, 1 failed" in done.stdout
    (root / "b.pipeline").rename(root / f"{STRANGE}.pipeline")
    listed = facesearch("people", str(root), encoding="ascii:strict")
    assert listed.returncode == 0, listed.stdout + listed.stderr


def test_progress_of_a_strange_name(capsys: pytest.CaptureFixture[str]) -> None:
    clip = Clip(STRANGE, None, "video", Path("x.pipeline"))
    watcher = LineWatcher(1)
    watcher.started(clip, 1)
    watcher.finished(Outcome(clip, "failed", f"{STRANGE}: no"))
    assert r"bad\udcff\x1b[31m: FAILED: bad\udcff\x1b[31m: no" in capsys.readouterr().out
    assert outcome_line(Outcome(clip, "skipped")).isprintable()
    assert safe("Zoë 你好") == "Zoë 你好"


@pytest.mark.parametrize(("arguments", "status"), [(["run", "--input_directory"], 1), (["models"], 0)])
def test_a_reader_that_goes_away(tmp_path: Path, arguments: list[str], status: int) -> None:
    if arguments[0] == "run":
        arguments = [*arguments, str(make_clips(tmp_path / "root", "a")), *QUICK]
    reading, writing = os.pipe()
    os.close(reading)
    done = facesearch(*arguments, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert (b"nobody reads" in done.stderr) == bool(status)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert main(["demo", str(file / "demo")]) == 2
    assert str(file / "demo") in capsys.readouterr().err
    assert main(["run", "--input_directory", str(tmp_path), "--profile", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    for wrong in ("99999", "0", "x"):
        with pytest.raises(SystemExit) as caught:
            main(["run", "--input_directory", str(tmp_path), "--metrics-port", wrong])
        assert caught.value.code == 2
        assert "not a port" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = facesearch("config", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1 and "free disk space" in done.stderr.decode()
