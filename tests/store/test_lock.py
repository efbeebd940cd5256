"""A lock that one process holds at a time, also where the file system asks for a file that is open for writing."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facesearch_trt.errors import BusyError, StoreError
from facesearch_trt.people.files import locked
from facesearch_trt.store import ClipStore, lock
from facesearch_trt.store.lock import hold


def test_one_holder_and_no_file_left(tmp_path: Path) -> None:
    first = hold(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    first.release()
    assert list(tmp_path.iterdir()) == []
    hold(tmp_path / "lock").release()


def test_removing_the_file_lets_nobody_in_twice(tmp_path: Path) -> None:
    """Some wait for a file that its holder removes, others make it anew: still there is one at a time."""
    inside, most = 0, 0

    def work(_: int) -> None:
        nonlocal inside, most
        for _ in range(100):
            held = hold(tmp_path / "lock", wait=lambda: None)
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.0002)
            inside -= 1
            held.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_letting_go_leaves_the_file_of_another(tmp_path: Path) -> None:
    first = hold(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    second = hold(tmp_path / "lock")
    first.release()
    assert (tmp_path / "lock").exists()
    with pytest.raises(BlockingIOError):
        hold(tmp_path / "lock")
    second.release()
    assert list(tmp_path.iterdir()) == []


_OTHER_USER = """
import os, pathlib, sys
from facesearch_trt.errors import StoreError
from facesearch_trt.people.files import locked
from facesearch_trt.store import ClipStore
from facesearch_trt.store.lock import hold

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
what, path = sys.argv[1], pathlib.Path(sys.argv[2])
try:
    if what == "hold":
        hold(path / ".people.lock").release()
    elif what == "wait":
        hold(path / ".people.lock", wait=lambda: print("waits", flush=True)).release()
    elif what == "tidy":
        print(ClipStore(path).tidy())
    else:
        with locked(path):
            pass
    print("in")
except (OSError, StoreError) as error:
    print(type(error).__name__)
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that all users may write, whose way there all may go."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def _other_user(what: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _OTHER_USER, what, path], stdout=subprocess.PIPE, text=True)


def _said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=60)[0].strip()


def test_another_user_does_not_enter(shared: Path) -> None:
    held = hold(shared / ".people.lock")
    (shared / ".people.lock").chmod(0o644)
    assert _said(_other_user("hold", shared)) == "BlockingIOError"
    with _other_user("wait", shared) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        assert (shared / ".people.lock").exists()
        held.release()
        assert _said(waiting) == "in"
    assert list(shared.iterdir()) == []
    # One that may not even be looked at keeps everybody out who could write.
    held = hold(shared / ".people.lock")
    (shared / ".people.lock").chmod(0o600)
    assert _said(_other_user("locked", shared)) == "StoreError"
    assert (shared / ".people.lock").exists()
    held.release()


def test_the_file_that_another_user_left(shared: Path) -> None:
    (shared / ".people.lock").touch(0o644)
    assert _said(_other_user("locked", shared)) == "in"
    assert list(shared.iterdir()) == []


def test_who_cannot_write_is_not_kept_out(shared: Path) -> None:
    held = hold(shared / ".people.lock")
    shared.chmod(0o755)
    assert _said(_other_user("locked", shared)) == "in"
    held.release()
    assert _said(_other_user("hold", shared)) == "PermissionError"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_a_lone_lock_that_has_to_stay_does_not_matter(shared: Path, mode: int) -> None:
    clip = shared / "clip.pipeline"
    clip.mkdir()
    (clip / ".lock").touch()
    (clip / ".lock").chmod(mode)
    shared.chmod(0o755)
    assert _said(_other_user("tidy", clip)).splitlines() == ["False", "in"]
    (clip / ".partial").mkdir()
    assert _said(_other_user("tidy", clip)) == "StoreError"


def test_a_lone_lock_on_a_disk_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lock").touch()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    assert not ClipStore(tmp_path).tidy()
    (tmp_path / ".partial").mkdir()
    with pytest.raises(StoreError, match="read-only"):
        ClipStore(tmp_path).tidy()


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an NFS mount says to flock: nfs(5) makes it a lock of the server's, for which a file has to be open for writing."""
    flock = fcntl.flock

    def asked(descriptor: int, operation: int) -> None:
        writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if not writable or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", asked)


@pytest.mark.usefixtures("nfs")
def test_clips_and_people_are_locked_on_nfs(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with store.begin({"frames": "k"}), pytest.raises(BusyError):
        store.begin({"frames": "k"})
    assert not store.directory.exists()
    order: list[str] = []

    def other() -> None:
        with locked(tmp_path):
            order.append("other")

    with locked(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.3)
        order.append("mine")
    thread.join()
    assert order == ["mine", "other"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "_without_locks", set())
    with caplog.at_level(logging.WARNING):
        for name in "ab":
            with ClipStore(tmp_path / f"{name}.pipeline").begin({"frames": "k"}):
                pass
    assert [record.message for record in caplog.records if "no locks" in record.message] == [
        f"{tmp_path / 'a.pipeline'}: this file system has no locks (No locks available);"
        " do not let two runs work on one ROOT"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_is_written_is_not_removed(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with store.begin({"frames": "k"}):
        with pytest.raises(BusyError):
            store.remove()
        assert store.directory.is_dir()
    (store.directory / "faces").mkdir(parents=True)
    (store.directory / "faces" / "x.png").touch()
    store.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_results_is_removed_with_them(tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk2" / "clip.pipeline"
    elsewhere.mkdir(parents=True)
    (elsewhere / "faces.csv").touch()
    (tmp_path / "clip.pipeline").symlink_to(elsewhere)
    ClipStore(tmp_path / "clip.pipeline").remove()
    assert not elsewhere.exists()
    assert not (tmp_path / "clip.pipeline").is_symlink()
