"""The process that does the work dies or hangs: the clip that did it fails with the signal's name, every other clip is done."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.graph.inputs import find_clips
from facesearch_trt.running import isolated

from .clips import QUICK, make_clips, results


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let work be done in a process apart, with the faults of :mod:`.worker`."""
    monkeypatch.delenv("FACESEARCH_IN_PROCESS")
    monkeypatch.setattr(isolated, "WORKER", "tests.faults.worker")


def run(root: Path, *options: str) -> int:
    return main(["run", "--input_directory", str(root), *QUICK, *options])


@pytest.mark.parametrize("at_once", ["1", "3"])
def test_a_crash_costs_its_clip_alone(tmp_path: Path, at_once: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a", "b", "c", "crash", "d", "once")
    root = make_clips(tmp_path / "faulty", *names)
    assert run(root, "--clips-at-once", at_once) == 1
    out = capsys.readouterr().out
    assert "6 clips: 5 done, 1 failed" in out
    (line,) = {line.split("] ")[-1].strip() for line in out.splitlines() if "FAILED" in line}
    assert line.startswith("crash: FAILED: put aside after it ended 2 workers") and "SIGSEGV" in line
    assert not (root / "crash.pipeline" / "run.json").exists()
    (root / "crash.mp4").unlink()
    (root / "once.died").unlink()
    # The same clips undisturbed, by one process.
    calm = tmp_path / "calm"
    calm.mkdir()
    for path in root.glob("*.mp4"):
        (calm / path.name).write_bytes(path.read_bytes())
    assert run(calm, "--no-isolate") == 0
    assert run(root) == 0
    assert results(root) == results(calm)


def test_native_code_that_never_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "_SILENT_S", 6.0)
    root = make_clips(tmp_path / "root", "a", "stuck", "z")
    assert run(root, "--clips-at-once", "1") == 1
    out = capsys.readouterr().out
    assert "3 clips: 2 done, 1 failed" in out
    assert "no sign of life for 6 s" in out


def test_a_worker_that_cannot_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "WORKER", "tests.faults.no_such_module")
    root = make_clips(tmp_path / "root", "a", "b")
    assert run(root) == 1
    err = capsys.readouterr().err
    assert "facesearch: the worker process does not start" in err and "--no-isolate" in err


def test_a_system_that_starts_no_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(isolated.subprocess, "Popen", refuse)
    assert run(make_clips(tmp_path / "root", "a", "b")) == 1
    err = capsys.readouterr().err
    assert "facesearch: the worker process does not start" in err and "temporarily unavailable" in err


@pytest.mark.parametrize("event", ["started", "advanced"])
def test_a_watcher_that_fails_is_not_the_worker_s_death(tmp_path: Path, event: str) -> None:
    class Gone:
        def started(self, *_: object) -> None:
            if event == "started":
                raise BrokenPipeError

        def advanced(self, *_: object) -> None:
            if event == "advanced":
                raise BrokenPipeError

        def finished(self, *_: object) -> None: ...

    (clip,) = find_clips(make_clips(tmp_path / "root", "slow"))
    order = isolated.Order(Options(detector_size=128), "run", logging.WARNING)
    with isolated.Isolated(order) as child, pytest.raises(BrokenPipeError):
        child.job(clip, Gone())


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_the_worker_ends_with_its_parent(tmp_path: Path, kill: signal.Signals) -> None:
    root = make_clips(tmp_path / "root", "a", "b", "slow")
    # fmt: off
    program = (
        "import sys; from facesearch_trt.running import isolated; isolated.WORKER = 'tests.faults.worker';"
        "from facesearch_trt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    # fmt: on
    command = [sys.executable, "-c", program, "run", "--input_directory", str(root), *QUICK, "--clips-at-once", "1"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    with parent.stdout as lines:
        next(line for line in lines if line.startswith("[2/3]"))
        (child,) = _children(parent.pid)
        parent.send_signal(kill)
        status = parent.wait(20)
    assert status == (130 if kill == signal.SIGINT else -kill)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.05)
    # What was finished is kept, and the next run does the rest.
    kept = {name: (root / f"{name}.pipeline/run.json").stat().st_mtime_ns for name in "ab"}
    assert run(root, "--no-isolate") == 0
    assert kept == {name: (root / f"{name}.pipeline/run.json").stat().st_mtime_ns for name in "ab"}
    assert (root / "slow.pipeline" / "run.json").exists()
    assert not list(root.rglob(".partial"))


def _children(process: int) -> list[int]:
    return [
        int(word)
        for task in Path(f"/proc/{process}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]
