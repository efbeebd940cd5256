"""What happens to a ROOT between and under runs: each time finished work is kept, and the next run makes what an undisturbed one makes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.running.stopwatch import Stopwatch
from facesearch_trt.store.clip import ClipStore

from .clips import QUICK, make_clips, results

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ROOT after an undisturbed run; only for reading."""
    root = make_clips(tmp_path_factory.mktemp("finished") / "root", *NAMES)
    assert run(root) == 0
    return root


@pytest.fixture
def root(tmp_path: Path, finished: Path) -> Path:
    """The clips without results."""
    directory = tmp_path / "root"
    directory.mkdir()
    for path in finished.glob("*.mp4"):
        shutil.copy2(path, directory)
    return directory


def run(root: Path, *options: str) -> int:
    return main(["run", "--input_directory", str(root), *QUICK, *options])


def times(root: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in root.glob("*.pipeline/run.json")}


@pytest.mark.parametrize("way", ["up", "link", "here", "slash"])
def test_every_way_to_a_root_gives_the_same(
    root: Path, finished: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.parent / "link").symlink_to(root)
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(root if way == "here" else elsewhere)
    path = {"up": "../root", "link": "../link", "here": ".", "slash": f"{root}/"}[way]
    assert main(["run", "--input_directory", path, *QUICK]) == 0
    assert results(root) == results(finished)
    assert {"people.csv", "report.html", "last_run.json"} <= {entry.name for entry in root.iterdir()}
    assert list(elsewhere.iterdir()) == []


def test_two_runs_at_once_share_the_work(root: Path, finished: Path) -> None:
    command = [sys.executable, "-m", "facesearch_trt", "run", "--input_directory", str(root), *QUICK]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    assert results(root) == results(finished)
    # Each clip was done by one of them, and the other says so.
    done = [
        line.split()[1] for out, _ in said for line in out.splitlines() if line.startswith("[") and " frames, " in line
    ]
    assert sorted(done) == [f"{name}:" for name in NAMES]


def test_a_run_waits_for_a_clip_that_another_process_is_writing(
    root: Path, finished: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ClipStore(root / "b.pipeline").begin({"frames": "another run's"}) as writer:
        naps = 0

        def nap(_: float) -> None:
            nonlocal naps
            naps += 1
            if naps == 3:
                writer.__exit__(None, None, None)

        monkeypatch.setattr("facesearch_trt.running.runner.time.sleep", nap)
        with caplog.at_level("INFO"):
            assert run(root) == 0
    assert caplog.text.count("b: another run is working on it") == 1
    assert naps >= 3
    assert results(root) == results(finished)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _noise(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(300))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _noise, _empty, Path.unlink])
@pytest.mark.parametrize("file", ["run.json", "faces.csv", "embeddings.pth"])
def test_a_damaged_result(
    root: Path, finished: Path, file: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for directory in finished.glob("*.pipeline"):
        shutil.copytree(directory, root / directory.name)
    before = times(root)
    damage(root / "c.pipeline" / file)
    status = run(root)
    after = times(root)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert {name: before[name] for name in before if name != "c.pipeline"} == {
        name: after[name] for name in after if name != "c.pipeline"
    }
    if status != 0:
        # A file that is there but not what was written is found when it is read, and the line says what to do.
        assert "c: " in captured.out and "--force" in captured.out
        assert run(root / "c.mp4", "--force") == 0
        assert run(root) == 0
    assert results(root) == results(finished)


def test_the_clock_jumps(root: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = random.Random(2)
    monkeypatch.setattr(time, "time", lambda: jumps.uniform(0, 4e9))
    monkeypatch.setattr(time, "time_ns", lambda: jumps.randrange(4 * 10**18))
    assert run(root) == 0
    assert results(root) == results(finished)
    before = times(root)
    # Results and clips from the future and from 1970.
    for index, path in enumerate(sorted(root.glob("*.pipeline/*"))):
        os.utime(path, (index % 2 * 4e9, index % 2 * 4e9))
    changed = times(root)
    assert run(root) == 0
    assert times(root) == changed != before


@pytest.fixture
def read_only(root: Path) -> Iterator[Path]:
    """The ROOT, mounted so that nobody can write it."""
    if os.geteuid() != 0:
        root.chmod(0o555)
        yield root
        root.chmod(0o755)
        return
    for arguments in (["--bind", str(root), str(root)], ["-o", "remount,bind,ro", str(root)]):
        if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
            subprocess.run(["umount", str(root)], capture_output=True, check=False)
            pytest.skip("this user cannot make a directory read-only for itself")
    yield root
    subprocess.run(["umount", str(root)], check=True)


def test_a_read_only_root(read_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(read_only) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert "4 clips: 4 failed" in captured.out
    assert captured.out.count("Make the directory writable") == 8, "once when it happens and once in the summary"
    assert sorted(path.name for path in read_only.iterdir()) == [f"{name}.mp4" for name in NAMES]


def test_a_slow_disk_is_named(
    root: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from facesearch_trt.store import pictures

    write, lock = pictures.write_bytes, threading.Lock()
    most = now = 0

    def slowly(path: Path, data: bytes) -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        write(path, data)
        with lock:
            now -= 1

    monkeypatch.setattr(pictures, "write_bytes", slowly)
    monkeypatch.setattr(
        Stopwatch, "seconds", lambda _: {"decode": 2.0, "write_frames": 20.0, "write_faces": 1.0, "embed": 5.0}
    )
    assert main(["run", "--input_directory", str(root / "a.mp4"), "--frames", "all", *QUICK[2:]]) == 0
    assert "a: 21 of 28 s went into waiting for results to be written" in caplog.text
    assert len(list((root / "a.pipeline").glob("frame_*.png"))) == 10
    assert most <= 8


def test_shares_by_jobs_that_know_nothing_of_each_other(
    root: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, "--shard", "1/3") == 0
    some = times(root)
    assert not (root / "people.csv").exists()
    assert f"facesearch people {root}" in capsys.readouterr().out
    assert [run(root, "--shard", f"{index}/3") for index in (2, 3)] == [0, 0]
    assert {name: times(root)[name] for name in some} == some
    assert len(times(root)) == len(NAMES)
    assert main(["people", str(root)]) == 0
    assert results(root) == results(finished)


def test_a_share_that_is_none(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "--shard", "4/3") == 2
    assert "it takes I/N with I from 1 to N" in capsys.readouterr().err
    assert run(root, "--shard", "1/3", "--ray", "auto") == 2
    assert "--ray goes with neither" in capsys.readouterr().err
