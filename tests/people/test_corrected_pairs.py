"""Calibration from a person's corrections: which pairs they vouch for, and what a user sees."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.errors import InputError
from facesearch_trt.models.catalogue import load_catalogue
from facesearch_trt.people.corrected_pairs import corrected_pairs
from facesearch_trt.people.files import read_people_table
from facesearch_trt.people.update import update_people
from tests.clip_results import SIMILARITY, STRICT, write_clip

MODEL = "dlib-resnet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six people; each of 1 to 4 is in three clips, 5 and 6 in one, 3 and 4 never beside each other."""
    directory = tmp_path / "root"
    directory.mkdir()
    write_clip(directory, "a", [[1, 2], [3], [5]], model=MODEL)
    write_clip(directory, "b", [[1, 2], [4], [3]], model=MODEL)
    write_clip(directory, "c", [[1], [2], [3], [4], [6]], model=MODEL)
    write_clip(directory, "d", [[4]], model=MODEL)
    update_people(directory, SIMILARITY, STRICT, MODEL)
    return directory


def person_of(root: Path, clip: str, face_id: int) -> int:
    return read_people_table(root)[clip, face_id]


def do(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    (line,) = [line for line in captured.err.splitlines() if line.startswith("facesearch: ")]
    return line


def test_names_vouch_for_one_person_and_for_two(root: Path) -> None:
    do("people", "name", root, person_of(root, "a", 0), "Ann")
    do("people", "name", root, person_of(root, "a", 2), "Cid")
    pairs = corrected_pairs(root)
    assert (pairs.model, pairs.people, pairs.faces) == (MODEL, 2, 6)
    # Ann and Cid are in three clips each: three pairs of clips, and every one of Ann's with every one of Cid's.
    assert (len(pairs.same), len(pairs.strangers)) == (6, 9)
    assert pairs.same.min() > 0.6 > pairs.strangers.max()


def test_two_ids_of_one_name_are_one_person(root: Path) -> None:
    do("people", "split", root, person_of(root, "a", 0), "c:0")
    do("people", "name", root, person_of(root, "a", 0), "Ann")
    apart = corrected_pairs(root)
    # What was split off is another person; the rest is one.
    assert (apart.people, len(apart.same), len(apart.strangers)) == (2, 1, 2)
    do("people", "name", root, person_of(root, "c", 0), "Ann")
    joined = corrected_pairs(root)
    assert (joined.people, len(joined.same), len(joined.strangers)) == (1, 3, 0)


def test_who_was_merged_and_seen_beside_each_other(root: Path) -> None:
    # 1 and 2 are seen together; merging each with one who is in one clip only vouches for them.
    do("people", "merge", root, person_of(root, "a", 0), person_of(root, "c", 4))
    do("people", "merge", root, person_of(root, "a", 1), person_of(root, "a", 3))
    pairs = corrected_pairs(root)
    assert pairs.people == 2
    # Four appearances of each; the pair inside one clip does not count as evidence of one person.
    assert (len(pairs.same), len(pairs.strangers)) == (10, 16)
    # Merged by hand only, 3 and 4 may be anybody's guess.
    do("people", "name", root, person_of(root, "a", 2), "Cid")
    assert len(corrected_pairs(root).strangers) == 16


def test_faces_too_small_to_tell_do_not_count(root: Path) -> None:
    write_clip(root, "e", [[1]], model=MODEL, size=25)
    do("people", "name", root, person_of(root, "a", 0), "Ann")
    before = corrected_pairs(root)
    assert ("e", 0) in read_people_table(root)
    assert before.faces == 3


def test_without_corrections_it_says_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="nobody was named"):
        corrected_pairs(root)
    assert main(["calibrate", "--corrections", str(root)]) == 2
    line = error(capsys)
    assert "people.yaml" in line
    assert "facesearch people name|merge|split" in line


def test_calibrate_writes_the_thresholds_of_the_model_of_the_clips(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, name in ((0, "Ann"), (1, "Bob"), (2, "Cid")):
        do("people", "name", root, person_of(root, "a", place), name)
    do("people", "name", root, person_of(root, "d", 0), "Dan")
    capsys.readouterr()
    models, curve = tmp_path / "mine.yaml", tmp_path / "curve.png"
    do("calibrate", "--corrections", root, "--far", 0.1, "--models-file", models, "--curve", curve, "--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["embedder"], result["people"], result["same_pairs"]) == (MODEL, 4, 12)
    assert result["stranger_pairs"] == 6 * 9
    assert result["far"] <= 0.1
    pairs = corrected_pairs(root)
    assert (pairs.strangers >= result["similarity"]).mean() == pytest.approx(result["far"])
    entry = load_catalogue(models).embedder(MODEL)
    assert (entry.similarity, entry.similarity_strict) == (result["similarity"], result["similarity_strict"])
    assert cv2.imread(str(curve)).shape == (620, 1000, 3)
    assert np.all(np.diff(pairs.same.astype(float)) != 0)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("calibrate",), 2, "photos or corrections"),
        (("calibrate", "PHOTOS", "--corrections", "ROOT"), 2, "photos or corrections"),
        (("calibrate", "--corrections", "ROOT/gone"), 2, "not a directory"),
        (("calibrate", "--corrections", "ROOT", "--embedder", "arcface-mbf-y1"), 1, "another model"),
        (("calibrate", "--corrections", "ROOT"), 2, "too few pairs"),
    ],
)
def test_what_cannot_be_calibrated(
    root: Path, arguments: tuple[str, ...], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    do("people", "name", root, person_of(root, "a", 3), "Eve")
    capsys.readouterr()
    assert main([argument.replace("ROOT", str(root)) for argument in arguments]) == status
    assert says in error(capsys)
