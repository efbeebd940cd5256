from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.errors import StoreError
from facesearch_trt.search.edl import edl_lines, timecode
from facesearch_trt.search.subtitles import Cue, OnScreen, cues, srt_lines, vtt_lines
from facesearch_trt.search.tabular import write_json, write_parquet

SEEN = [OnScreen("Ann", 1, 5), OnScreen("person 2", 3, 7), OnScreen("Ann", 10, 11)]


def test_a_cue_for_each_change() -> None:
    assert list(cues(SEEN)) == [
        Cue(1, 3, ("Ann",)),
        Cue(3, 5, ("Ann", "person 2")),
        Cue(5, 7, ("person 2",)),
        Cue(10, 11, ("Ann",)),
    ]


def test_a_single_frame_is_shown_long_enough() -> None:
    (cue,) = cues([OnScreen("Ann", 4, 4)])
    assert cue.end_s - cue.start_s >= 0.2


def test_two_stretches_of_one_person_are_one_cue() -> None:
    assert list(cues([OnScreen("Ann", 1, 5), OnScreen("Ann", 4, 8)])) == [Cue(1, 8, ("Ann",))]
    assert list(cues([OnScreen("Ann", 1, 5), OnScreen("Ann", 5, 8)])) == [Cue(1, 8, ("Ann",))]


spans = st.builds(
    lambda label, start, length: OnScreen(label, start, start + length),
    st.sampled_from("abc"),
    st.integers(0, 50).map(float),
    st.integers(1, 20).map(float),
)


@given(st.lists(spans, max_size=12))
def test_cues_say_at_every_time_who_is_there(seen: list[OnScreen]) -> None:
    found = list(cues(seen))
    assert all(one.end_s <= other.start_s for one, other in pairwise(found))
    for half in range(150):
        time_s = half / 2 + 0.25
        there = {one.label for one in seen if one.start_s <= time_s < one.end_s}
        assert there == {label for cue in found if cue.start_s <= time_s < cue.end_s for label in cue.labels}


def test_srt() -> None:
    text = "".join(srt_lines(cues(SEEN[:2])))
    assert text.startswith(
        "1\n00:00:01,000 --> 00:00:03,000\nAnn\n\n2\n00:00:03,000 --> 00:00:05,000\nAnn\nperson 2\n\n"
    )


def test_vtt() -> None:
    text = "".join(vtt_lines(cues(SEEN[2:])))
    assert text == "WEBVTT\n\n00:00:10.000 --> 00:00:11.000\nAnn\n\n"


HOSTILE = "x\n\n2\n00:00:00,000 --> 01:00:00,000\n<script>&"


def test_a_name_cannot_leave_its_cue() -> None:
    srt = "".join(srt_lines([Cue(1, 2, (HOSTILE,))]))
    assert srt.count("-->") == 1
    assert len(srt.split("\n\n")) == 2
    assert "<" not in srt
    vtt = "".join(vtt_lines([Cue(1, 2, (HOSTILE,))]))
    assert vtt.count("-->") == 1
    assert "&lt;script&gt;&amp;" in vtt
    edl = "".join(edl_lines(HOSTILE, HOSTILE, [OnScreen(HOSTILE, 1, 2)], 25))
    assert sum(line[:3].isdigit() for line in edl.splitlines()) == 1


def test_timecode() -> None:
    assert timecode(0, 25) == "00:00:00:00"
    assert timecode(3661.04, 25) == "01:01:01:01"
    # An hour at 29.97 is 107,892 frames, 3.6 s less in frames of 30 a second.
    assert timecode(3600, 30000 / 1001) == "00:59:56:12"


def test_edl() -> None:
    lines = "".join(edl_lines("faces", "My clip.mp4", SEEN[:2], 25)).splitlines()
    assert lines[:2] == ["TITLE: faces", "FCM: NON-DROP FRAME"]
    assert lines[3] == "001  MYCLIPMP V     C        00:00:01:00 00:00:05:01 00:00:00:00 00:00:04:01"
    assert lines[4:6] == ["* FROM CLIP NAME: My clip.mp4", "* COMMENT: Ann"]
    assert lines[7].endswith("00:00:03:00 00:00:07:01 00:00:04:01 00:00:08:02")


COLUMNS: dict[str, Any] = {"clip": "str", "frame": "int64", "score": "float32", "seen": "bool"}
ROWS = [("a'\n<é", 2**40, 0.5, True), (None, None, None, None), ("b", 0, -1.25, False)]


def test_parquet_reads_back(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    assert write_parquet(tmp_path / "t.parquet", COLUMNS, iter(ROWS)) == 3
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.schema.names == list(COLUMNS)
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    assert write_parquet(tmp_path / "none.parquet", COLUMNS, []) == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_json_reads_back(tmp_path: Path) -> None:
    assert write_json(tmp_path / "t.json", COLUMNS, iter(ROWS)) == 3
    content = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert [tuple(row.values()) for row in content] == ROWS
    assert write_json(tmp_path / "none.json", COLUMNS, []) == 0
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize("write", [write_json, write_parquet])
def test_nothing_half_written_stays(tmp_path: Path, write: Any) -> None:
    def broken() -> Any:
        yield ROWS[0]
        raise KeyError("broken")

    with pytest.raises(KeyError):
        write(tmp_path / "t", COLUMNS, broken())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "missing" / "t", COLUMNS, ROWS)
