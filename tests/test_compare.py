"""The comparison with other libraries: its grouping, its decoder, its tables, and that a missing peer is told."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.compare import Failed, peer
from benchmarks.compare_peers import FirstKnown, cosine, euclidean, yunet_faces
from benchmarks.compare_process import alive, run
from benchmarks.compare_tables import Result, span, table, time_table

OPEN = Result(
    12.0, 10.0, 500, 100, 240, {"recall": 0.99, "bcubed_f": 1.0, "identities": 7, "people": 7}, {"detect": 6.0}
)


def test_a_face_belongs_to_the_first_known_person_within_the_threshold():
    people = FirstKnown(euclidean, 0.6)
    # The last is nearer to the second person, but the first will do.
    vectors = [[0, 0], [1, 0], [0.6, 0], [0, 0.5], [5, 5], [0.55, 0]]
    assert [people.person(np.array(vector, float)) for vector in vectors] == [0, 1, 0, 0, 2, 0]


def test_a_person_is_known_by_the_first_face_only():
    people = FirstKnown(euclidean, 1)
    assert [people.person(np.array([x])) for x in (0.0, 0.9, 1.8)] == [0, 0, 1]


def test_cosine_distance_takes_no_notice_of_length():
    assert cosine(np.array([2.0, 0]), np.array([[5.0, 0], [0, 3], [-1, 0]])) == pytest.approx([0, 1, 2])


def heads(height: int, width: int) -> dict[str, np.ndarray]:
    found = {}
    for stride in (8, 16, 32):
        cells = height // stride * (width // stride)
        for name, numbers in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            found[f"{name}_{stride}"] = np.zeros((1, cells, numbers), np.float32)
    return found


def test_yunets_heads_are_decoded_and_weaker_boxes_thinned_out():
    outputs = heads(64, 96)
    for cell, score in ((1 * 6 + 2, 0.81), (1 * 6 + 3, 0.64)):
        outputs["cls_16"][0, cell], outputs["obj_16"][0, cell] = score, 1
    # Both are the same box: middle (40, 24), 32 wide and 16 high.
    outputs["bbox_16"][0, 8] = [0.5, 0.5, np.log(2), 0]
    outputs["bbox_16"][0, 9] = [-0.5, 0.5, np.log(2), 0]
    outputs["kps_16"][0, 8, :2] = [0.25, 0.5]
    boxes, marks = yunet_faces(outputs, 96, 0.5)
    np.testing.assert_allclose(boxes, [[24, 16, 56, 32]], atol=1e-4)
    np.testing.assert_allclose(marks[0, :2], [[36, 24], [32, 16]], atol=1e-4)
    assert len(yunet_faces(outputs, 96, 0.95)[0]) == 0


def test_memory_is_that_of_the_process_and_of_those_it_started():
    child = "x = bytearray(50 << 20); print(flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        found = alive(process.pid)
        assert len(found) == 2
        assert max(found.values()) > 50
        assert process.pid in found
    finally:
        process.communicate(b"\n")
    assert alive(process.pid) == {}


def test_a_process_that_failed_says_why():
    ran = run([sys.executable, "-c", "import no_such_library"], {})
    assert ran.status == 1
    assert "no_such_library" in ran.reason()


def test_a_peer_that_is_not_there_is_missing_with_a_reason(tmp_path):
    args = argparse.Namespace(deepface_python=None, face_recognition_python="/no/such/python", outputs="all")
    for name, reason in (
        ("deepface", "no --deepface-python given"),
        ("face_recognition", "there is no /no/such/python"),
    ):
        with pytest.raises(Failed, match=reason):
            peer(name, tmp_path / "clip.mp4", tmp_path / "work", args)


def test_the_table_has_medians_scores_and_what_is_missing():
    slow = [replace(OPEN, process_s=seconds, score={}) for seconds in (36.0, 24.0, 48.0)]
    results = {"facesearch open": [OPEN] * 3, "insightface": slow, "deepface": []}
    lines = table("a.mp4", results, {"deepface": "no --deepface-python given"})
    assert lines[0] == "### a.mp4"
    own, other, missing = (line.split(" | ") for line in lines[4:7])
    assert own[1:] == [
        "12.0 (12.0 to 12.0)",
        "10.0 (10.0 to 10.0)",
        "10.0",
        "500",
        "240",
        "0.990",
        "1.000",
        "7 (7)",
        "1.00 |",
    ]
    assert other[1] == "36.0 (24.0 to 48.0)"
    assert other[6:] == ["–", "–", "–", "3.00 |"]
    assert missing[1] == "missing: no --deepface-python given"
    assert len({line.count("|") for line in lines[2:7]}) == 1


def test_a_contender_that_failed_later_is_missing_and_not_compared_with():
    results = {"facesearch open": [OPEN], "insightface": [replace(OPEN, process_s=6.0)] * 2}
    lines = table("a.mp4", results, {"facesearch open": "it broke"})
    assert "missing: it broke" in lines[4]
    assert lines[5].endswith("| 1.00 |")


def test_where_the_time_goes_leaves_out_packs_that_did_not_run():
    lines = time_table({"facesearch open": [OPEN], "facesearch other": []}, {"open": [8.0], "other": [1.0]})
    assert lines[0] == "| s | open |"
    assert lines[2:8] == [
        "| end to end | 12.00 |",
        "| start, loading, report | 2.00 |",
        "| the clip's work | 10.00 |",
        "| &nbsp; detect | 6.00 |",
        "| networks alone, on all cores | 8.00 |",
        "| networks alone, of the clip's work | 80 % |",
    ]


def test_one_value_has_no_span():
    assert span([1.25]) == "1.2"
