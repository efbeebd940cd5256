"""The directory of engines: what fits, what does not and how that is told, and that nothing half-written is ever seen."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference import cache
from facesearch_trt.inference.cache import EngineKey, Machine, build_lock, entries, find, read_plan, store
from facesearch_trt.inference.profiles import embedder_profiles

MACHINE = Machine("10.3.0", "NVIDIA Jetson Orin NX", "8.7", "aarch64")
KEY = EngineKey("arc", "ab" * 32, "fp16", embedder_profiles(112, [8]), MACHINE)
PLAN = bytes(range(256)) * 40


def put(directory: Path, key: EngineKey = KEY, plan: bytes = PLAN) -> Path:
    with build_lock(directory):
        return store(directory, key, plan, 12.34, {"onnx": "arc.onnx"}).path


def test_name_and_json_carry_what_the_engine_is_tied_to(tmp_path: Path) -> None:
    path = put(tmp_path)
    for part in ("arc", "abababab", "fp16", "b8", "trt10.3.0", "nvidia_jetson_orin_nx", "sm87", "aarch64"):
        assert part in path.name
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["key"]["onnx_sha256"] == KEY.onnx_sha256
    assert content["key"]["machine"] == {
        "tensorrt": "10.3.0",
        "gpu": "NVIDIA Jetson Orin NX",
        "compute_capability": "8.7",
        "platform": "aarch64",
    }
    assert content["key"]["profiles"] == [[[1, 3, 112, 112], [8, 3, 112, 112], [8, 3, 112, 112]]]
    assert content["seconds"] == 12.3 and content["onnx"] == "arc.onnx"


def test_what_fits_is_found_with_the_smallest_batch_that_does(tmp_path: Path) -> None:
    for batch in (64, 16, 4):
        put(tmp_path, replace(KEY, profiles=embedder_profiles(112, [batch])))
    assert find(tmp_path, KEY).key.max_batch == 16
    assert read_plan(find(tmp_path, KEY), tmp_path) == PLAN


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"precision": "int8"},
            r"asked for precision int8; there is precision fp16.*--precision int8 --calibrate ROOT",
        ),
        ({"onnx_sha256": "cd" * 32}, "ONNX sha256 cdcdcdcdcdcd; there is ONNX sha256 abababababab"),
        ({"machine": replace(MACHINE, tensorrt="8.6.2")}, r"TensorRT 8\.6\.2; there is TensorRT 10\.3\.0"),
        (
            {"machine": replace(MACHINE, gpu="NVIDIA T4", compute_capability="7.5")},
            r"GPU NVIDIA T4, compute capability 7\.5; there is GPU NVIDIA Jetson Orin NX, compute capability 8\.7",
        ),
        (
            {"profiles": embedder_profiles(112, [32])},
            r"largest input \[32, 3, 112, 112\]; .*\[8, 3, 112, 112\].*--batch 32",
        ),
    ],
)
def test_a_misfit_names_the_difference_and_the_command(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    put(tmp_path)
    with pytest.raises(EngineError, match=told) as caught:
        find(tmp_path, replace(KEY, **changed))
    assert "build_engines.py --models arc" in str(caught.value)


def test_of_several_misfits_the_nearest_is_told(tmp_path: Path) -> None:
    put(tmp_path, replace(KEY, precision="int8", machine=replace(MACHINE, gpu="other")))
    put(tmp_path, replace(KEY, precision="fp32"))
    with pytest.raises(EngineError) as caught:
        find(tmp_path, KEY)
    assert caught.value.found == "precision fp32"


def test_no_engine_at_all(tmp_path: Path) -> None:
    put(tmp_path, replace(KEY, model="another"))
    with pytest.raises(EngineError, match=r"no engine of this model.*--models arc --precision fp16 --batch 8"):
        find(tmp_path, KEY)


def test_a_truncated_engine_is_told_with_its_sizes(tmp_path: Path) -> None:
    path = put(tmp_path)
    path.write_bytes(PLAN[:1000])
    with pytest.raises(EngineError, match=r"truncated.*10240 bytes; there is 1000 bytes.*--force"):
        read_plan(find(tmp_path, KEY), tmp_path)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = put(tmp_path)
    path.write_bytes(b"x" + PLAN[1:])
    with pytest.raises(EngineError, match="damaged"):
        read_plan(find(tmp_path, KEY), tmp_path)


def test_a_missing_engine_file_is_told(tmp_path: Path) -> None:
    put(tmp_path).unlink()
    with pytest.raises(EngineError, match="cannot read the engine"):
        read_plan(find(tmp_path, KEY), tmp_path)


def test_unreadable_json_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"format": 99}')
    (tmp_path / "short.json").write_text('{"format": 1, "key": {}}')
    assert len(entries(tmp_path)) == 1
    assert "broken.json" in caplog.text and "short.json" in caplog.text


def test_a_failed_write_leaves_the_old_engine_and_no_stray_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match=r"No space left.*Free disk space"):
        put(tmp_path, plan=b"new")
    monkeypatch.undo()
    assert read_plan(find(tmp_path, KEY), tmp_path) == PLAN
    assert not list(tmp_path.glob(".tmp-*"))


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".tmp-left").write_bytes(b"half")
    with build_lock(tmp_path):
        assert not (tmp_path / ".tmp-left").exists()


def test_a_reader_between_the_two_renames_waits_for_the_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path)
    entry = find(tmp_path, KEY)
    between, go_on = threading.Event(), threading.Event()
    whole = cache.write_atomic

    def halting(path: Path, content: bytes | memoryview) -> None:
        if path.suffix == ".json":
            between.set()
            assert go_on.wait(10)
        whole(path, content)

    monkeypatch.setattr(cache, "write_atomic", halting)
    builder = threading.Thread(target=put, args=(tmp_path, KEY, b"rebuilt"))
    builder.start()
    assert between.wait(10)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_plan(entry, tmp_path)))
    reader.start()
    time.sleep(0.1)
    assert not got
    go_on.set()
    builder.join(10)
    reader.join(10)
    assert got == [b"rebuilt"]


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="--engines"), build_lock(tmp_path / "file" / "engines"):
        pass
