"""Scores of clips, against the reference scorer and motmetrics where these are at hand."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from facesearch_trt.errors import TableError
from facesearch_trt.evaluation.scores import match_clip, score
from facesearch_trt.evaluation.truth import Sightings, read_mot, read_sightings, read_truth

TRUTH = "frame_num,x1,y1,x2,y2,person\n"
FACES = "face_num,frame_num,x1,y1,x2,y2,face_id\n"


def written(path, text):
    path.write_text(text)
    return path


def sightings(rows):
    """From (frame, x, name): boxes of 10 by 10 px at x."""
    found = Sightings()
    for frame, x, name in rows:
        boxes = found.boxes.get(frame, np.zeros((0, 4)))
        found.boxes[frame] = np.vstack([boxes, [x, 0, x + 10, 10]])
        found.names.setdefault(frame, []).append(name)
    return found


def random_clip(seed):
    """A truth and a result with misses, extra faces, shifted boxes and wrong identities."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for frame in range(40):
        for person in range(4):
            if rng.random() < 0.8:
                truth.append((frame, 30 * person, f"p{person}"))
            if rng.random() < 0.8:
                name = str(person) if rng.random() < 0.8 else str(rng.integers(6))
                found.append((frame, 30 * person + rng.uniform(0, 6), "" if rng.random() < 0.05 else name))
        if rng.random() < 0.2:
            truth.append((frame, 200, "not_a_face"))
            if rng.random() < 0.5:
                found.append((frame, 201, "9"))
    return sightings(found), sightings(truth)


def table(path, header, clip):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for frame, boxes in clip.boxes.items():
            writer.writerows([frame, *box, name] for box, name in zip(boxes, clip.names[frame], strict=True))
    return path


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_the_reference_scorer(tmp_path, shared_tools, seed):
    found, truth = random_clip(seed)
    columns = ["frame_num", "x1", "y1", "x2", "y2"]
    faces = table(tmp_path / "faces.csv", [*columns, "face_id"], found)
    true = table(tmp_path / "truth.csv", [*columns, "person"], truth)
    command = [sys.executable, str(shared_tools / "score_faces.py"), str(faces), str(true), "--json"]
    wanted = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ours = score([match_clip(read_sightings(faces, "face_id"), read_truth(true))]).as_dict()
    assert wanted == {key: ours[key] for key in wanted}


@pytest.mark.parametrize("seed", range(3))
def test_idf1_and_switches_agree_with_motmetrics(seed):
    motmetrics = pytest.importorskip("motmetrics")
    found, truth = random_clip(seed)
    matches = match_clip(found, truth)
    accumulator = motmetrics.MOTAccumulator()
    for frame in sorted(truth.boxes):
        people = [name for name in truth.names[frame] if name != "not_a_face"]
        here = [row for row, at in enumerate(matches.frames) if at == frame]
        distances = np.full((len(people), len(here)), np.nan)
        for column, row in enumerate(here):
            distances[people.index(matches.people[row]), column] = 0
        # It takes numbers for names.
        numbers = [int(name[1:]) for name in people]
        identities = [hash(matches.found[row]) % 2**31 for row in here]
        accumulator.update(numbers, identities, distances, frameid=frame)
    wanted = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "num_switches"], name="clip").iloc[0]
    ours = score([matches])
    assert ours.idf1 == pytest.approx(wanted["idf1"], abs=1e-4)
    assert ours.id_switches == wanted["num_switches"]


def test_several_clips_share_no_identities_unless_told():
    clips = [match_clip(sightings([(0, 0, "0")]), sightings([(0, 0, "ann")])) for _ in range(2)]
    alone, together = score(clips), score(clips, shared=True)
    assert (alone.identities, alone.people) == (2, 2)
    assert (together.identities, together.people) == (1, 1)
    mixed = score([clips[0], match_clip(sightings([(0, 0, "0")]), sightings([(0, 0, "bob")]))], shared=True)
    assert mixed.bcubed_precision == 0.5


def test_frames_that_were_not_looked_at_do_not_count():
    truth = sightings([(frame, 0, "ann") for frame in range(9)])
    found = sightings([(frame, 0, "0") for frame in range(0, 9, 3)])
    assert score([match_clip(found, truth)]).recall == pytest.approx(1 / 3, abs=1e-4)
    assert score([match_clip(found, truth, frames=[0, 3, 6, 8])]).recall == 0.75
    with pytest.raises(TableError, match="clip a: the truth has frames that the clip has not"):
        match_clip(found, truth, frames=range(5), where="clip a")


def test_nothing_found_scores_nothing():
    scores = score([match_clip(Sightings(), sightings([(0, 0, "ann")]))])
    assert (scores.recall, scores.bcubed_f, scores.idf1, scores.identities) == (0, 0, 0, 0)
    assert score([match_clip(Sightings(), Sightings())]).recall is None


def test_mot_text_is_read(tmp_path):
    path = written(tmp_path / "gt.txt", "1,3,10,20,30,40,1,1,1\n1,4,50,20,30,40,0,1,1\n2,3,11,20,30,40\n")
    truth = read_mot(path)
    assert truth.boxes[0].tolist() == [[10, 20, 40, 60]]
    assert truth.names == {0: ["3"], 1: ["3"]}
    assert read_truth(path).names == truth.names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame_num,x1,y1,x2,y2\n0,1,1,2,2\n", "person"),
        (TRUTH + "0,1,1,two,2,ann\n", "line 2"),
        (TRUTH + "0,1,1\n", "line 2"),
        ("", "empty"),
        ("1,2,3\n", "line 1"),
    ],
)
def test_what_is_no_truth_is_refused(tmp_path, text, words):
    path = written(tmp_path / "truth.csv", text)
    with pytest.raises(TableError, match=words) as caught:
        read_truth(path)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(TableError, match="no such table"):
        read_truth(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00person")
    with pytest.raises(TableError, match="cannot read"):
        read_truth(tmp_path / "binary.csv")


def test_a_faces_table_is_read(tmp_path):
    path = written(tmp_path / "faces.csv", FACES + "0,5,1,2,3,4,7\n1,5,1,2,3,4,-1\n")
    found = read_sightings(path, "face_id")
    assert found.names == {5: ["7", ""]}
    assert len(found) == 2
    with pytest.raises(TableError, match="person_id"):
        read_sightings(path, "person_id")
