"""A disk that is full, at any moment, or read-only: one line names the directory and the remedy; nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facesearch_trt.errors import StoreError
from facesearch_trt.store import ClipStore

from .synthetic import KEYS, contents, exhaust, frames, single_pass, stepwise


def _mount(*arguments: str) -> bool:
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False, timeout=30).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB of its own."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if not _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)):
        pytest.skip("this user cannot mount a small tmpfs")
    yield directory
    subprocess.run(["umount", str(directory)], check=True, timeout=30)


def _check(error: StoreError, directory: Path) -> None:
    message = str(error)
    assert message.startswith(f"{directory}: cannot write ")
    assert "no space left" in message and "bytes free" in message and "Free some space" in message
    assert "\n" not in message


@pytest.mark.parametrize("driver", [single_pass, stepwise])
def test_full_at_any_moment(small_disk: Path, driver: object) -> None:
    """With ever more of the disk free, passes fail at ever later moments, until they do not."""
    store = single_pass(small_disk / "clip.pipeline", count=4, keys=dict.fromkeys(KEYS, "before"))
    before = contents(store.directory)
    new = small_disk / "new.pipeline"
    filler = small_disk / "filler"
    outcomes = []
    # tmpfs gives out pages of 4 KiB.
    for free in range(4096, 1 << 20, 3 * 4096):
        statistics = os.statvfs(small_disk)
        filler.write_bytes(b"\0" * (statistics.f_bavail * statistics.f_frsize - free))
        try:
            driver(new, count=4)  # type: ignore[operator]
            outcomes.append("complete")
        except StoreError as error:
            _check(error, new)
            outcomes.append("full")
        assert contents(store.directory) == before
        if outcomes[-1] == "complete":
            break
        if driver is single_pass:
            assert not new.exists(), "what a failed pass made is gone"
        else:
            assert not (new / ".partial").exists()
        filler.unlink()
    assert outcomes.count("full") >= 4 and outcomes[-1] == "complete"
    filler.unlink()
    single_pass(small_disk / "wanted.pipeline", count=4)
    assert contents(new) == contents(small_disk / "wanted.pipeline")


def test_full_when_old_results_are_there(small_disk: Path) -> None:
    """A pass that finds no room beside the old results leaves these as they were."""
    store = single_pass(small_disk / "clip.pipeline", count=4, keys=dict.fromkeys(KEYS, "before"))
    before = contents(store.directory)
    statistics = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (statistics.f_bavail * statistics.f_frsize - 40_000))
    with pytest.raises(StoreError) as caught:
        single_pass(store.directory, count=9)
    _check(caught.value, store.directory)
    assert contents(store.directory) == before


def test_a_picture_that_the_disk_refuses(tmp_path: Path) -> None:
    """Without a disk of its own: the system limits the size of a file, which a write reports like a full disk."""
    store = ClipStore(tmp_path / "clip.pipeline")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with ThreadPoolExecutor(2) as pool, pytest.raises(StoreError) as caught, store.begin({"frames": "k"}) as writer:
            exhaust(writer.write_frames(frames(6), keep="all", png_compression=1, executor=pool))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    assert message.startswith(f"{store.directory}: cannot write frame_000") and "asked for 9," in message
    assert "Free some space" in message
    assert not store.directory.exists()


def test_read_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    store = single_pass(root / "clip.pipeline", count=4)
    before = contents(store.directory)
    if os.geteuid() == 0:
        # Permissions do not bind root; a mount does.
        if not (_mount("--bind", str(root), str(root)) and _mount("-o", "remount,bind,ro", str(root))):
            subprocess.run(["umount", str(root)], capture_output=True, check=False, timeout=30)
            pytest.skip("this user cannot make a directory read-only for itself")
    else:
        root.chmod(0o555)
        store.directory.chmod(0o555)
    try:
        assert store.is_done("identity", KEYS["identity"])
        exhaust(store.load_faces(with_chips=True, with_embeddings=True))
        for directory in (store.directory, root / "new.pipeline"):
            with pytest.raises(StoreError) as caught:
                ClipStore(directory).begin(KEYS)
            message = str(caught.value)
            assert message.startswith(f"{directory}: cannot write") and "Make the directory writable" in message
        assert contents(store.directory) == before
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(root)], check=True, timeout=30)
        else:
            root.chmod(0o755)
            store.directory.chmod(0o755)
