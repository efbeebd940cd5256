from __future__ import annotations

import io
import logging
import multiprocessing
import os
import random
import threading
import time
import zipfile
from pathlib import Path

import pytest

from facesearch_trt.errors import ChecksumError, FetchError, ModelError
from facesearch_trt.models.entries import EmbedderEntry, FileSource, UrlSource
from facesearch_trt.models.files import Progress, locked
from facesearch_trt.models.weights import cached_weights, fetch_weights

from .conftest import Web
from .making import embedder, no_larger_files_than, sha

CONTENT = random.Random(1).randbytes(300_000)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def entry_at(web: Web, file: str, content: bytes = CONTENT, member: str | None = None) -> EmbedderEntry:
    return embedder(content, UrlSource(f"{web.url}/{file}", member))


def left_over(home: Path) -> list[str]:
    """Everything in the cache but locks."""
    return sorted(path.name for path in home.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_local_file_beside_the_entry(tmp_path: Path, home: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(CONTENT)
    entry = embedder(CONTENT, declared_in=tmp_path / "models.yaml")
    assert fetch_weights(entry, home=home) == tmp_path / "small.onnx"
    assert not home.exists()


def test_local_file_in_listed_directories(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "small.onnx").write_bytes(CONTENT)
    monkeypatch.setenv("FACESEARCH_MODELS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    assert fetch_weights(embedder(CONTENT), home=home) == tmp_path / "b" / "small.onnx"


def test_local_file_in_home(home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "small.onnx").write_bytes(CONTENT)
    assert fetch_weights(embedder(CONTENT)) == home / "models" / "small.onnx"  # home from the environment


def test_missing_local_file_says_where_it_looked(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESEARCH_MODELS", str(tmp_path / "mine"))
    with pytest.raises(FetchError) as caught:
        fetch_weights(embedder(CONTENT, declared_in=tmp_path / "models.yaml"), home=home)
    for place in (tmp_path, tmp_path / "mine", home / "models"):
        assert str(place) in str(caught.value)
    assert "Put small.onnx into" in str(caught.value)
    absent = tmp_path / "gone" / "small.onnx"
    with pytest.raises(FetchError, match=str(absent)):
        fetch_weights(embedder(CONTENT, FileSource(absent)), home=home)


def test_wrong_local_file_is_named_and_left(tmp_path: Path, home: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(b"other")
    with pytest.raises(ChecksumError) as caught:
        fetch_weights(embedder(CONTENT, declared_in=tmp_path / "models.yaml"), home=home)
    assert sha(CONTENT) in str(caught.value)
    assert sha(b"other") in str(caught.value)
    assert (tmp_path / "small.onnx").read_bytes() == b"other"


def test_fetched_once_then_cached(web: Web, home: Path) -> None:
    web.files["w.onnx"] = CONTENT
    entry = entry_at(web, "w.onnx")
    path = fetch_weights(entry, home=home)
    assert path == cached_weights(entry, home)
    assert path.read_bytes() == CONTENT
    assert fetch_weights(entry, home=home) == path
    assert web.requests == ["w.onnx"]
    assert left_over(home) == [path.name]


def test_own_copy_is_taken_instead_of_fetching(web: Web, home: Path) -> None:
    (home / "models").mkdir(parents=True)
    (home / "models" / "w.onnx").write_bytes(CONTENT)
    assert fetch_weights(entry_at(web, "w.onnx"), home=home) == home / "models" / "w.onnx"
    assert web.requests == []


def test_damaged_cache_is_fetched_again(web: Web, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    web.files["w.onnx"] = CONTENT
    entry = entry_at(web, "w.onnx")
    fetch_weights(entry, home=home).write_bytes(CONTENT[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert fetch_weights(entry, home=home).read_bytes() == CONTENT
    assert "damaged" in caplog.text
    assert len(web.requests) == 2


@pytest.mark.parametrize(
    ("content", "found"),
    [(CONTENT[:-1] + b"?", sha(CONTENT[:-1] + b"?")), (CONTENT + bytes(3_000_000), "more than 300,000 bytes")],
)
def test_wrong_sum_is_not_kept(web: Web, home: Path, content: bytes, found: str) -> None:
    web.files["w.onnx"] = content
    with pytest.raises(ChecksumError) as caught:
        fetch_weights(entry_at(web, "w.onnx"), home=home)
    assert sha(CONTENT) in str(caught.value)
    assert found in str(caught.value)
    assert left_over(home) == []


@pytest.mark.parametrize("file", ["w.onnx", "pack.zip"])
@pytest.mark.parametrize("ranges", [True, False])
def test_cut_connection(web: Web, home: Path, file: str, ranges: bool) -> None:
    web.files = {"w.onnx": CONTENT, "pack.zip": zipped(**{"w.onnx": CONTENT})}
    web.cut_after, web.ranges = 100_000, ranges
    with pytest.raises(FetchError) as caught:
        fetch_weights(entry_at(web, file, member=None if file == "w.onnx" else "w.onnx"), home=home)
    assert file in str(caught.value)
    assert left_over(home) == []
    web.cut_after = None
    assert fetch_weights(entry_at(web, file, member=None if file == "w.onnx" else "w.onnx"), home=home).is_file()


def test_not_found_and_nobody_there(web: Web, home: Path) -> None:
    with pytest.raises(FetchError, match="404") as caught:
        fetch_weights(entry_at(web, "w.onnx"), home=home)
    assert f"put w.onnx into {home / 'models'}" in str(caught.value)
    with pytest.raises(FetchError, match="refused"):
        fetch_weights(embedder(CONTENT, UrlSource("http://127.0.0.1:9/p.zip", "w.onnx")), home=home)


@pytest.mark.parametrize("member", ["w.onnx", "top/w.onnx"])
def test_member_comes_without_the_rest_of_the_zip(web: Web, home: Path, member: str) -> None:
    web.files["p.zip"] = zipped(first=os.urandom(3_000_000), **{member.replace("/", "__"): CONTENT}, last=CONTENT * 9)
    entry = entry_at(web, "p.zip", member=member.rpartition("/")[2])
    path = fetch_weights(entry, home=home)
    assert path.read_bytes() == CONTENT
    # What the sockets had buffered when the client closed them counts as sent.
    assert web.sent_bytes < 4_000_000 < len(web.files["p.zip"])
    assert left_over(home) == [path.name]


def test_zip_from_a_server_without_ranges(web: Web, home: Path) -> None:
    web.ranges = False
    web.files["p.zip"] = zipped(**{"w.onnx": CONTENT})
    path = fetch_weights(entry_at(web, "p.zip", member="w.onnx"), home=home)
    assert path.read_bytes() == CONTENT
    assert left_over(home) == [path.name]


@pytest.mark.parametrize("ranges", [True, False])
def test_zip_without_the_member_or_damaged(web: Web, home: Path, ranges: bool) -> None:
    web.ranges = ranges
    good = zipped(**{"w.onnx": CONTENT})
    web.files = {
        "p.zip": zipped(other=CONTENT),
        "half.zip": good[:1000],
        "bent.zip": good[:5000] + b"?" * 99 + good[5099:],
    }
    with pytest.raises(FetchError, match="does not hold the weights"):
        fetch_weights(entry_at(web, "p.zip", member="w.onnx"), home=home)
    for name in ("half.zip", "bent.zip"):
        with pytest.raises(FetchError, match="archive is damaged"):
            fetch_weights(entry_at(web, name, member="w.onnx"), home=home)
    assert left_over(home) == []


def _fetch(entry: EmbedderEntry, home: Path) -> None:
    assert fetch_weights(entry, home=home).read_bytes() == CONTENT


def test_second_process_waits_for_the_first(web: Web, home: Path) -> None:
    web.files["w.onnx"] = CONTENT
    web.gate = threading.Event()
    entry = entry_at(web, "w.onnx")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fetch, args=(entry, home)) for _ in range(2)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 60
    while not web.requests and time.monotonic() < deadline:
        time.sleep(0.05)
    web.gate.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert web.requests == ["w.onnx"]
    assert left_over(home) == [cached_weights(entry, home).name]


def test_killed_fetch_leaves_no_broken_cache(web: Web, home: Path) -> None:
    web.files["w.onnx"] = CONTENT
    web.gate = threading.Event()
    entry = entry_at(web, "w.onnx")
    process = multiprocessing.get_context("spawn").Process(target=_fetch, args=(entry, home))
    process.start()
    deadline = time.monotonic() + 60
    while not web.requests and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.join(60)
    assert not cached_weights(entry, home).exists()
    assert (home / "weights" / f".partial-{entry.sha256[:12]}").is_dir()
    web.gate.set()
    path = fetch_weights(entry, home=home)
    assert [child.name for child in (home / "weights").iterdir()] == [path.name]


def test_lock_is_held_and_freed(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(home, "x"):
            order.append("second")

    thread = threading.Thread(target=second)
    with caplog.at_level(logging.INFO):
        with locked(home, "x"):
            thread.start()
            deadline = time.monotonic() + 30
            while "waiting for another process" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.01)
            order.append("first")
        thread.join(30)
    assert order == ["first", "second"]


@pytest.mark.parametrize(("file", "ranges"), [("w.onnx", True), ("pack.zip", True), ("pack.zip", False)])
def test_a_download_tells_how_large_it_is_and_how_much_has_come(
    web: Web, home: Path, file: str, ranges: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.files, web.ranges = {"w.onnx": CONTENT, "pack.zip": zipped(**{"w.onnx": CONTENT})}, ranges
    monkeypatch.setattr(Progress, "every_s", 0.0)
    entry = entry_at(web, file, member=None if file == "w.onnx" else "w.onnx")
    with caplog.at_level(logging.INFO):
        fetch_weights(entry, home=home)
    first, *later = caplog.messages
    assert first == f"downloading {entry.name}, 0.3 MB: {entry.source}"
    assert later and {message.partition(" of ")[2] for message in later} == {"0.3 MB have come"}
    assert later[-1] == f"{entry.name}: 0.3 of 0.3 MB have come"


@pytest.mark.parametrize(("file", "ranges"), [("w.onnx", True), ("pack.zip", True), ("pack.zip", False)])
def test_a_full_disk_is_no_fault_of_the_network(web: Web, home: Path, file: str, ranges: bool) -> None:
    web.files, web.ranges = {"w.onnx": CONTENT, "pack.zip": zipped(**{"w.onnx": CONTENT})}, ranges
    entry = entry_at(web, file, member=None if file == "w.onnx" else "w.onnx")
    with no_larger_files_than(100_000), pytest.raises(ModelError, match="cannot be written.*Free disk space") as caught:
        fetch_weights(entry, home=home)
    assert not isinstance(caught.value, FetchError) and str(home / "weights") in str(caught.value)
    assert left_over(home) == []
    assert fetch_weights(entry, home=home).read_bytes() == CONTENT


def test_a_place_that_is_taken(web: Web, home: Path) -> None:
    web.files["w.onnx"] = CONTENT
    entry = entry_at(web, "w.onnx")
    cached_weights(entry, home).mkdir(parents=True)
    with pytest.raises(ModelError, match="cannot be written.*directory"):
        fetch_weights(entry, home=home)


def test_home_that_cannot_be_made(tmp_path: Path, web: Web) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="set FACESEARCH_HOME"):
        fetch_weights(entry_at(web, "w.onnx"), home=tmp_path / "file" / "home")
