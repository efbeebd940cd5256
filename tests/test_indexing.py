"""From clips' results to the index, and out of it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb", reason="LanceDB is not installed: pip install 'facesearch_trt[search]'")

from facesearch_trt.cli.main import main
from facesearch_trt.errors import InputError
from facesearch_trt.indexing import Update, clip_rows, index_clips, read_people, root_name, update_index
from facesearch_trt.people.tracks import load_tracks
from facesearch_trt.people.update import update_people
from facesearch_trt.search.confidence import Thresholds
from facesearch_trt.search.index import Answer, Index
from facesearch_trt.search.where import Where
from facesearch_trt.search.writer import IndexWriter
from facesearch_trt.store import ClipStore

from .clip_results import DIMENSION, SIMILARITY, STRICT, person, sighting, write_clip

BOTH = [[0, 1]] * 10
ONLY = [[0]] * 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clips: person 0 is in both, person 1 in "a", person 2 in "b"."""
    root = tmp_path / "root"
    root.mkdir()
    write_clip(root, "a", BOTH)
    write_clip(root, "b", [[2], [2, 0], [0], [0]])
    return root


def update(root: Path, index: Path) -> Update:
    with IndexWriter(index) as writer:
        return update_index(writer, [root])


def search(index: Path, who: int) -> Answer:
    query = sighting(who, 99)[None]
    return Index.open(index).search(query, model="net", thresholds=Thresholds(SIMILARITY, STRICT))


def test_tracks_are_summed_up(root: Path) -> None:
    tracks = load_tracks(ClipStore(root / "b.pipeline"), best_faces=2)
    assert (tracks.frames, tracks.start_s, tracks.end_s) == (4, 0, 0.12)
    two, zero = tracks.tracks
    assert (two.face_id, two.start_s, two.end_s, two.count) == (0, 0, 0.04, 2)
    assert (zero.face_id, zero.start_s, zero.end_s, zero.count) == (1, 0.04, 0.12, 3)
    assert zero.mean is not None
    assert float(zero.mean @ person(0)) > 0.9
    assert len(zero.best) == 2
    assert all(face.chip == "" for face in zero.best), "no chips were written"


def test_clips_become_rows(root: Path) -> None:
    rows = clip_rows(root / "b.pipeline", "/r", {})
    assert [(kind, int(track)) for kind, track in zip(rows.kind, rows.track_id, strict=True)] == [
        ("track", 0),
        ("face", 0),
        ("face", 0),
        ("track", 1),
        ("face", 1),
        ("face", 1),
    ]
    assert rows.vectors.shape == (6, DIMENSION)
    assert rows.entry.model == "net"


def test_once_and_only_what_changed(root: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = update(root, index)
    assert [Path(path).name for path in first.added] == ["a.pipeline", "b.pipeline"]
    again = update(root, index)
    assert (again.added, again.replaced, again.unchanged) == ([], [], 2)
    write_clip(root, "b", ONLY, seed=1)
    write_clip(root, "c", ONLY)
    third = update(root, index)
    assert [[Path(path).name for path in paths] for paths in (third.added, third.replaced)] == [
        ["c.pipeline"],
        ["b.pipeline"],
    ]
    assert {entry.clip for entry in Index.open(index).clips()} == {"a", "b", "c"}
    assert {found.match.clip for found in search(index, 0).found} == {"a", "b", "c"}
    assert search(index, 2).verdict == "nobody"


def test_a_clip_that_is_gone_leaves(root: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update(root, index)
    (root / "a.pipeline").rename(tmp_path / "a.pipeline")
    assert update(root, index).removed.clips == 1
    assert search(index, 1).verdict == "nobody"


def test_a_root_without_any_results_is_no_deletion(root: Path, tmp_path: Path) -> None:
    """As where the disk with the clips is not mounted."""
    index = tmp_path / "index"
    update(root, index)
    for name in ("a", "b"):
        (root / f"{name}.pipeline").rename(tmp_path / f"{name}.pipeline")
    with pytest.raises(InputError, match="holds no results"):
        update(root, index)
    assert len(Index.open(index).clips()) == 2


def test_several_roots_are_told_apart(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_clip(other, "a", ONLY)
    with IndexWriter(tmp_path / "index") as writer:
        update_index(writer, [root, other])
    index = Index.open(tmp_path / "index")
    assert [(entry.root, entry.clip) for entry in index.clips()] == [
        (root_name(other), "a"),
        (root_name(root), "a"),
        (root_name(root), "b"),
    ]
    update(root, tmp_path / "index")
    assert len(index.clips()) == 3, "an update of one ROOT leaves the others alone"


def test_unfinished_and_damaged_clips_do_not_stop_the_others(root: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    (root / "begun.pipeline").mkdir()
    faces = root / "a.pipeline" / "faces.csv"
    faces.write_text(faces.read_text().replace("0.9000", "much", 1))
    done = update(root, index)
    assert [Path(path).name for path in done.unfinished] == ["begun.pipeline"]
    ((failed, reason),) = done.failed
    assert failed.endswith("a.pipeline")
    assert "bad value in column 'score'" in reason
    assert [Path(path).name for path in done.added] == ["b.pipeline"]


def test_people_names_and_decisions(root: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    update_people(root, SIMILARITY, STRICT)
    people = read_people(root)
    assert people["a"][0].person_id == people["b"][1].person_id
    shared = people["a"][0].person_id
    update(root, index)
    assert {match.clip for match in Index.open(index).appearances(Where(person_ids=(shared,)))} == {"a", "b"}
    (root / "people.yaml").write_text(f"names: {{{shared}: 'Ann O''Neil'}}\n")
    update_people(root, SIMILARITY, STRICT)
    assert len(update(root, index).replaced) == 2
    assert {match.clip for match in Index.open(index).appearances(Where(people=("Ann O'Neil",)))} == {"a", "b"}
    (root / "people.yaml").write_text(f"ignore: [{shared}]\n")
    update_people(root, SIMILARITY, STRICT)
    update(root, index)
    assert search(index, 0).verdict == "nobody"
    assert search(index, 1).verdict == "found"


def test_a_run_adds_its_clip(root: Path, tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index") as writer:
        assert len(index_clips(writer, [root / "a.pipeline"]).added) == 1
        assert len(index_clips(writer, [root / "b.pipeline", root / "a.pipeline"]).added) == 1
        assert len(writer.clips()) == 2


def test_a_name_that_is_no_text(root: Path, tmp_path: Path) -> None:
    try:
        (root / "a.pipeline").rename(root / b"\xff.pipeline".decode("utf-8", "surrogateescape"))
    except OSError:
        pytest.skip("this file system takes only valid names")
    done = update(root, tmp_path / "index")
    ((_, reason),) = done.failed
    assert "not valid UTF-8" in reason
    assert len(done.added) == 1


def test_the_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = str(tmp_path / "index")
    assert main(["index", str(root), "--index", index]) == 0
    assert "2 added" in capsys.readouterr().out
    assert main(["index", "--list", "--index", index, "--json"]) == 0
    assert [row["clip"] for row in json.loads(capsys.readouterr().out)] == ["a", "b"]
    update_people(root, SIMILARITY, STRICT)
    assert main(["index", str(root), "--index", index, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["replaced"]) == 2
    shared = read_people(root)["a"][0].person_id
    assert main(["search", "--person", shared, "--index", index, "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["a", "b"]
    assert main(["search", "--person", shared, "--together", "--index", index]) == 0
    out = capsys.readouterr().out
    assert "a  0:00:00.000 to 0:00:00.360" in out
    assert main(["index", "--forget-clip", "a", "--index", index]) == 0
    assert "removed 1 clips" in capsys.readouterr().out
    assert main(["index", "--forget", str(root), "--index", index]) == 0
    assert Index.open(index).clips() == []
    assert main(["index", "--index", index]) == 2
    assert main(["index", "--forget-clip", "a", "--index", index + "2"]) == 2
    assert not Path(index + "2").exists()
    assert main(["search", "--index", index]) == 2


def test_means_are_of_length_one(root: Path) -> None:
    rows = clip_rows(root / "a.pipeline", "/r", {})
    np.testing.assert_allclose(np.linalg.norm(rows.vectors, axis=1), 1, atol=1e-6)
