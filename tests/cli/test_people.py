"""``facesearch people``, ``calibrate`` and ``eval`` as a user calls them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.errors import InputError
from facesearch_trt.people.calibration import calibrate, far_bound
from facesearch_trt.people.files import read_names, read_people_table
from facesearch_trt.people.gallery import GALLERY_FILE, Gallery, names_from_gallery
from facesearch_trt.people.update import update_people
from tests.clip_results import SIMILARITY, STRICT, person, sighting, write_clip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    write_clip(directory, "a", [[1, 2], [1, 2], [3]])
    write_clip(directory, "b", [[2], [4], [1]])
    update_people(directory, SIMILARITY, STRICT, "net")
    return directory


def error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    (line,) = [line for line in captured.err.splitlines() if line.startswith("facesearch: ")]
    return line


def listed(root: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[int, dict]:
    capsys.readouterr()
    assert main(["people", str(root), "--json", *more]) == 0
    return {row["person_id"]: row for row in json.loads(capsys.readouterr().out)}


def test_list_name_and_ignore(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_people_table(root)
    one, three = table["a", 0], table["a", 2]
    assert main(["people", "name", str(root), str(one), "Ada Lovelace"]) == 0
    assert main(["people", "ignore", str(root), str(three)]) == 0
    people = listed(root, capsys)
    assert people[one]["name"] == "Ada Lovelace"
    assert {"clip": "b", "face_id": 2} in people[one]["faces"]
    assert three not in people
    assert listed(root, capsys, "--all")[three]["ignored"]
    assert main(["people", str(root)]) == 0
    out = capsys.readouterr().out
    assert "Ada Lovelace" in out
    assert "4 people in 2 clips, 1 of them by name" in out
    assert main(["people", "name", str(root), str(one), ""]) == 0
    assert listed(root, capsys)[one]["name"] is None


def test_merge_and_split_and_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_people_table(root)
    three, four = table["a", 2], table["b", 1]
    assert main(["people", "merge", str(root), str(four), str(three)]) == 0
    assert read_people_table(root)["b", 1] == read_people_table(root)["a", 2] == min(three, four)
    assert "merged" in (root / "people_log.csv").read_text()
    # The merged id is still understood.
    assert main(["people", "name", str(root), str(max(three, four)), "Both"]) == 0
    assert [name.name for name in read_names(root)] == ["Both"]
    assert main(["people", "split", str(root), str(min(three, four)), "b:1"]) == 0
    apart = read_people_table(root)
    assert apart["a", 2] == min(three, four)
    assert apart["b", 1] > max(table.values())
    assert main(["people", "merge", str(root), str(apart["b", 1]), str(apart["a", 2])]) == 0
    assert read_people_table(root)["b", 1] == apart["a", 2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("merge", "0", "77"), "77"),
        (("merge", "0"), "two people"),
        (("merge", "0", "1"), "seen together"),
        (("split", "0", "b:9"), "b:9"),
        (("split", "0", "a:0", "b:2"), "all faces"),
        (("name", "0"), "one name"),
        (("ignore", "x"), "x"),
    ],
)
def test_corrections_that_cannot_be(
    root: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_people_table(root)["a", 0] == 0
    assert main(["people", arguments[0], str(root), *arguments[1:]]) == 2
    assert says in error(capsys)
    assert not (root / "people.yaml").exists()


def test_a_root_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["people", str(tmp_path / "gone")]) == 2
    assert "gone" in error(capsys)


def write_truth(path: Path, frames: list[list[int]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = ["frame_num,x1,y1,x2,y2,person"]
    for number, people in enumerate(frames):
        lines += [f"{number},{10 + 100 * i},10,{90 + 100 * i},90,p{who}" for i, who in enumerate(people)]
    path.write_text("\n".join(lines) + "\n")


def test_eval(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth"
    write_truth(truth / "a.csv", [[1, 2], [1, 2], [3]])
    write_truth(truth / "b.csv", [[2], [4], [1]])
    assert main(["eval", "--truth", str(truth), str(root), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert set(scores["clips"]) == {"a", "b"}
    assert scores["overall"]["true_faces"] == 8
    assert scores["across"]["bcubed_f"] == scores["overall"]["bcubed_f"] == scores["overall"]["recall"] == 1.0
    assert (scores["across"]["people"], scores["overall"]["people"]) == (4, 6)
    # A truth that says otherwise of one face is seen across clips only.
    write_truth(truth / "b.csv", [[2], [4], [3]])
    assert main(["eval", "--truth", str(truth), str(root), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["overall"]["bcubed_f"] == 1.0
    assert scores["across"]["bcubed_f"] < 1.0
    assert main(["eval", "--truth", str(truth), str(root)]) == 0
    assert "BCubed" in capsys.readouterr().out


def test_eval_of_a_gallery(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth"
    write_truth(truth / "a.csv", [[1, 2], [1, 2], [3]])
    write_truth(truth / "b.csv", [[2], [4], [1]])
    enrolled(root, {"p1": 1, "p2": 2})
    assert main(["eval", "--truth", str(truth), str(root), "--json"]) == 0
    gallery = json.loads(capsys.readouterr().out)["gallery"]
    assert (gallery["mated"], gallery["non_mated"], gallery["tpir"]) == (4, 2, 1.0)


@pytest.mark.parametrize("what", ["name", "frames", "size", "columns", "none"])
def test_a_truth_of_another_clip(root: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    truth = tmp_path / "truth"
    write_truth(
        truth / ("other.csv" if what == "name" else "a.csv"), [[1, 2], [1, 2], [3]] + [[1]] * (9 * (what == "frames"))
    )
    if what == "size":
        (truth / "a.csv").write_text("frame_num,x1,y1,x2,y2,person\n0,1500,900,1580,980,p\n")
    elif what == "columns":
        (truth / "a.csv").write_text("frame_num,x1,y1,x2,person\n0,1,2,3,p\n")
    elif what == "none":
        (truth / "a.csv").unlink()
    assert main(["eval", "--truth", str(truth), str(root)]) in (1, 2)
    line = error(capsys)
    assert str(truth) in line
    assert {"name": "no clip", "frames": "frames", "size": "outside", "columns": "y2", "none": "no truth"}[what] in line


def enrolled(root: Path, people: dict[str, int], model: str = "net") -> Gallery:
    """Put a gallery where enrolling leaves it."""
    vectors = np.stack([person(number) for number in people.values()]).astype(np.float32)
    names = np.frombuffer("\0".join(people).encode(), np.uint8)
    with (root / GALLERY_FILE).open("wb") as file:
        np.savez(file, model=np.array(model), names=names, vectors=vectors, people=np.arange(len(people)))
    return Gallery(model, tuple(people), vectors, np.arange(len(people)))


def test_a_gallery_names_who_is_in_it_and_nobody_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    enrolled(root, {"Ada": 1, "Bob": 40})
    assert main(["people", str(root)]) == 0
    table = read_people_table(root)
    (row,) = read_names(root)
    assert (row.person_id, row.name, row.source) == (table["a", 0], "Ada", "gallery")
    assert row.similarity is not None and row.similarity > 0.7
    # What a person says counts more.
    assert main(["people", "name", str(root), str(row.person_id), "Eve"]) == 0
    assert [(name.name, name.source) for name in read_names(root)] == [("Eve", "decision")]


def test_two_who_were_seen_together_do_not_share_a_name(root: Path) -> None:
    gallery = enrolled(root, {"Ada": 1})
    means = np.stack([person(1), sighting(1, 5) / 3]).astype(np.float32)
    assert [row for row, _, _ in names_from_gallery(gallery, means, 0.5, ())] == [0, 1]
    assert [row for row, _, _ in names_from_gallery(gallery, means, 0.5, {(0, 1)})] == [0]


def test_a_gallery_of_another_model_is_refused_with_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    enrolled(root, {"Ada": 1}, model="other")
    assert main(["people", str(root)]) == 1
    line = error(capsys)
    assert "other" in line
    assert "--gallery" in line
    assert f"facesearch people {root}" in line


@pytest.fixture
def photos(tmp_path: Path, demo_pictures: dict[str, Path]) -> Path:
    directory = tmp_path / "photos"
    for name, who in (("collins", "Eileen"), ("obama", "Barack"), ("obama_2", "Barack"), ("biden", "Joe")):
        (directory / who).mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_pictures[name], directory / who / (name + demo_pictures[name].suffix))
    return directory


@pytest.mark.parametrize("what", ["none", "two", "broken"])
def test_a_gallery_photo_that_does_not_show_one_face(
    root: Path, photos: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = photos / "Joe" / "wrong.png"
    faces = [cv2.resize(cv2.imread(str(photos / who)), (400, 500)) for who in ("Barack/obama.jpg", "Joe/biden.jpg")]
    cv2.imwrite(str(path), np.hstack(faces) if what == "two" else np.full((300, 300, 3), 120, np.uint8))
    if what == "broken":
        path.write_bytes(b"no picture")
    assert main(["people", str(root), "--gallery", str(photos)]) == 2
    line = error(capsys)
    assert str(path) in line
    assert {"none": "no face", "two": "2 faces", "broken": "not a JPEG"}[what] in line


def test_the_whole_job_names_people_from_photos(
    tmp_path: Path, photos: Path, demo_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy2(demo_clip, root / "one.mp4")
    shutil.copy2(demo_clip, root / "two.mp4")
    run = ["run", "--input_directory", str(root), "--every", "10", "--frames", "none"]
    assert main([*run, "--gallery", str(photos)]) == 0
    assert "3 people in 2 clips, 3 of them by name" in capsys.readouterr().out
    assert {name.name for name in read_names(root)} == {"Eileen", "Barack", "Joe"}
    table = read_people_table(root)
    assert {table["one", face] == table["two", face] for face in range(3)} == {True}
    # The photos are remembered by their content, and the gallery stays.
    assert main(run) == 0
    assert "3 of them by name; nothing changed" in capsys.readouterr().out


def test_calibrate(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "Joe" / "blank.png").write_bytes(cv2.imencode(".png", np.zeros((99, 99, 3), np.uint8))[1].tobytes())
    models, curve = tmp_path / "models.yaml", tmp_path / "curve.png"
    command = ["calibrate", str(photos), "--models-file", str(models), "--curve", str(curve), "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["people"], result["photos"], result["same_pairs"], result["stranger_pairs"]) == (3, 4, 1, 5)
    assert list(result["left_out"]) == [str(photos / "Joe" / "blank.png")]
    assert 0.4 < result["far_bound"] < 0.5
    assert any("pairs of strangers cannot show" in text for text in result["warnings"])
    assert cv2.imread(str(curve)).shape == (620, 1000, 3)
    # The file that was written is a models file, and is used.
    assert main(["models", "--models-file", str(models), "--json"]) == 0
    capsys.readouterr()
    assert main(command) == 0
    from facesearch_trt.models.catalogue import load_catalogue

    entry = load_catalogue(models).embedder("dlib-resnet")
    assert (entry.similarity, entry.similarity_strict) == (result["similarity"], result["similarity_strict"])
    assert entry.sha256 == load_catalogue().embedder("dlib-resnet").sha256


def test_a_threshold_accepts_the_wanted_share() -> None:
    vectors = np.concatenate([np.stack([sighting(who, k) / 3 for k in range(4)]) for who in range(60)]).astype(
        np.float32
    )
    names = [f"p{who}" for who in range(60) for _ in range(4)]
    result = calibrate(vectors, names, 0.01)
    assert (result.people, len(result.same), len(result.strangers)) == (60, 360, 60 * 59 // 2 * 16)
    accepted = (result.strangers >= result.similarity).mean()
    assert accepted == result.far
    assert 0.008 < accepted <= 0.01 < result.far_bound < 0.013
    assert result.similarity_strict > result.strangers[-1]
    assert result.similarity < result.similarity_strict
    assert not result.warnings


def test_what_too_few_photos_cannot_show() -> None:
    assert far_bound(0, 3000) == pytest.approx(0.001, rel=0.01)
    with pytest.raises(InputError, match="too few people"):
        calibrate(np.eye(4, dtype=np.float32), ["a", "a", "b", "b"], 0.01)
    with pytest.raises(InputError, match="two photos"):
        calibrate(np.eye(4, dtype=np.float32), ["a", "b", "c", "d"], 0.01)


@pytest.mark.parametrize(("column", "remedy"), [("x1", "frames_to_faces.py"), ("face_id", "face_to_faceid.py")])
def test_an_edited_faces_table_without_a_column(
    root: Path, tmp_path: Path, column: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table, before = root / "a.pipeline" / "faces.csv", read_people_table(root)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != column], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    capsys.readouterr()
    assert main(["people", str(root)]) == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "FAILED" in line]
    assert str(table) in line
    assert f"column '{column}' is missing" in line
    assert remedy in line
    assert "--force" in line
    # The other clip's people stay who they were.
    assert read_people_table(root)["b", 0] == before["b", 0]
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "a.csv").write_text("frame_num,x1,y1,x2,y2,person\n0,10,10,90,90,ann\n")
    assert main(["eval", "--truth", str(truth), str(root)]) == 1
    line = error(capsys)
    assert str(table) in line
    assert f"asked for {column}" in line
    assert "run_pipeline.py --force" in line
    if column != "face_id":
        assert main(["identity", "--input_directory", str(root / "a.pipeline"), "--force"]) == 1
        assert f"column '{column}' is missing" in capsys.readouterr().out


def test_people_table_is_what_other_programs_read(root: Path) -> None:
    with (root / "people.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["clip", "face_id", "person_id", "similarity"]
