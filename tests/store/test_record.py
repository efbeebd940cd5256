"""run.json: complete round trip, and no trust in what is not ours."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.store import ClipStore, Counts, Model, RunRecord, Source, StepState
from facesearch_trt.store.record import read_record

from .synthetic import KEYS, single_pass

FULL = RunRecord(
    clip="Ünïcode clip",
    source=Source("clip.mp4", 123, 1_700_000_000_000_000_001, "cd" * 16),
    models={"detector": Model("centerface", "ab" * 32, "MIT")},
    options={"every": 1, "frames": "all", "score_threshold": None, "nms_iou": 0.3, "force": False},
    backend="onnxruntime",
    precision="fp32",
    backend_why="as asked",
    graph="software",
    counts=Counts(10, 9, 8, 7, 6),
    seconds={"detect": 1.25},
    steps={"frames": StepState("damaged", "k1"), "faces": StepState("done", "k2")},
    warnings=["something odd"],
    damage="ends early",
)


def test_round_trip(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(FULL.to_json(), encoding="utf-8")
    assert read_record(tmp_path) == FULL
    assert RunRecord.from_json(RunRecord().to_json()) == RunRecord()


def test_records_of_before_some_things_were_kept_stay_good() -> None:
    content = json.loads(FULL.to_json())
    del content["precision"], content["backend_why"], content["source"]["listing"]
    record = RunRecord.from_json(json.dumps(content))
    assert (record.backend, record.precision, record.backend_why) == ("onnxruntime", "", "")
    assert record.source == Source("clip.mp4", 123, 1_700_000_000_000_000_001)


def test_no_file_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_record(tmp_path) is None
    assert caplog.records == []


def _with(**changes: Any) -> str:
    return json.dumps({**json.loads(FULL.to_json()), **changes})


BAD = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "of another program": _with(program="other"),
    "of another format": _with(format=2),
    "unknown step": _with(steps={"dance": {"state": "done", "key": "k"}}),
    "unknown state": _with(steps={"frames": {"state": "maybe", "key": "k"}}),
    "key no text": _with(steps={"frames": {"state": "done", "key": 1}}),
    "steps no object": _with(steps=["frames"]),
    "counts negative type": _with(counts={"frames": "many"}),
    "count a truth value": _with(counts={"frames": True, "pictures": 0, "faces": 0, "tracks": 0, "people": 0}),
    "seconds no numbers": _with(seconds={"detect": "long"}),
    "source no object": _with(source="clip.mp4"),
    "field missing": json.dumps({"program": "facesearch_trt", "format": 1}),
    "deep": '{"a":' * 100_000,
    "bad UTF-8": "\udcff",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_unusable_counts_as_nothing_done(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_record(tmp_path) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and str(tmp_path / "run.json") in record.getMessage()


def test_unusable_record_is_replaced_by_the_next_pass(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "a.pipeline")
    (store.directory / "run.json").write_text("{")
    assert not store.is_done("frames", KEYS["frames"])
    single_pass(tmp_path / "a.pipeline")
    assert all(store.is_done(step, key) for step, key in KEYS.items())


def test_unknown_keys_are_not_kept(tmp_path: Path) -> None:
    assert RunRecord.from_json(_with(future="unknown")) == FULL


def test_done_only_while_the_tables_are_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = single_pass(tmp_path / "a.pipeline")
    (store.directory / "quality.csv").unlink()
    assert not store.is_done("faces", KEYS["faces"])
    assert "quality.csv is gone" in caplog.text
    assert store.is_done("frames", KEYS["frames"])
    assert not ClipStore(tmp_path / "nothing.pipeline").is_done("frames", KEYS["frames"])
