"""Int8 on the CPU: measured, kept, offered only where it gains."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference.cpu_int8 import CpuInt8, cpu_has_vnni, measured_speedup, offered_int8, record_int8
from facesearch_trt.inference.files import file_sha256
from facesearch_trt.types import Array


class Sleeper:
    """An engine that takes a known time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.calls = seconds, 0

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.calls += 1
        time.sleep(self.seconds)
        return {}


def result(directory: Path, source: Path, **changes: object) -> CpuInt8:
    (directory / "net-int8.onnx").write_bytes(b"int8")
    values = {
        "file": "net-int8.onnx",
        "source_sha256": file_sha256(source),
        "speedup": 1.5,
        "accurate": True,
        "accuracy": "cosine 0.999",
    }
    return CpuInt8(**{**values, **changes})  # type: ignore[arg-type]


def test_both_are_run_by_turns_and_the_ratio_is_theirs() -> None:
    slow, fast = Sleeper(0.02), Sleeper(0.005)
    speedup = measured_speedup(slow, fast, {"input": np.zeros(1)}, seconds=0.1)  # type: ignore[arg-type]
    assert slow.calls == fast.calls >= 3
    # A sleep is never shorter than asked for, and the machine may be busy.
    assert 1.5 < speedup < 4.5


def test_a_gain_is_offered(tmp_path: Path, embedder: Path) -> None:
    record_int8(tmp_path, "net", result(tmp_path, embedder))
    assert offered_int8(tmp_path, "net", embedder) == tmp_path / "net-int8.onnx"


@pytest.mark.parametrize("changes", [{"speedup": 1.05}, {"accurate": False}])
def test_no_gain_is_said_and_not_used(
    tmp_path: Path, embedder: Path, changes: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    record_int8(tmp_path, "net", result(tmp_path, embedder, **changes))
    with caplog.at_level(logging.WARNING):
        assert offered_int8(tmp_path, "net", embedder) is None
    assert "net runs in fp32: its int8 was 1." in caplog.text and "cosine 0.999" in caplog.text


def test_what_was_never_measured_names_the_command(tmp_path: Path, embedder: Path) -> None:
    with pytest.raises(EngineError, match=r"build_engines\.py --models net --precision int8 --calibrate ROOT"):
        offered_int8(tmp_path, "net", embedder)
    record_int8(tmp_path, "net", result(tmp_path, embedder, source_sha256="of another"))
    with pytest.raises(EngineError, match="from another file, or is gone"):
        offered_int8(tmp_path, "net", embedder)
    record_int8(tmp_path, "net", result(tmp_path, embedder))
    (tmp_path / "net-int8.onnx").unlink()
    with pytest.raises(EngineError, match="from another file, or is gone"):
        offered_int8(tmp_path, "net", embedder)
    (tmp_path / "net-cpu-int8.json").write_text("{}")
    with pytest.raises(EngineError, match="cannot read what was measured"):
        offered_int8(tmp_path, "net", embedder)


def test_the_cpu_is_asked() -> None:
    assert cpu_has_vnni() in (True, False)
