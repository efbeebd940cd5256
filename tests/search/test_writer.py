from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import StoreError
from facesearch_trt.search import policy
from facesearch_trt.search.index import Index
from facesearch_trt.search.where import Where
from facesearch_trt.search.writer import IndexWriter, Removed

from .people import MODEL, Crowd, clip_of


def _files_with(location: Path, vector: np.ndarray) -> list[Path]:
    wanted = vector.astype("<f4").tobytes()
    return [path for path in location.rglob("*") if path.is_file() and wanted in path.read_bytes()]


def test_clips_come_one_by_one(tmp_path: Path) -> None:
    crowd = Crowd(10)
    for number in range(3):
        with IndexWriter(tmp_path / "index") as writer:
            assert len(writer.clips()) == number
            writer.put([clip_of(f"clip{number}", crowd.pictures(np.arange(number + 1)))])
    index = Index.open(tmp_path / "index")
    assert index.models() == [MODEL]
    assert [entry.clip for entry in index.clips()] == ["clip0", "clip1", "clip2"]
    assert index.count() == 1 + 2 + 3


def test_a_redone_clip_replaces_its_rows_in_one_commit(tmp_path: Path) -> None:
    crowd = Crowd(10)
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("same", crowd.pictures(np.arange(5))), clip_of("other", crowd.pictures(np.arange(4)))])
        table = Index.open(tmp_path)._of_model(MODEL)
        before = table.version()
        for count in (2, 7):
            writer.put([clip_of("same", crowd.pictures(np.arange(count)), fingerprint=str(count))])
            assert len(table.rows("clip = 'same' AND kind = 'track'")) == count
        assert table.version() == before + 2
        assert len(table.rows("clip = 'other' AND kind = 'track'")) == 4
        (entry,) = table.clips("clip = 'same'")
        assert entry.fingerprint == "7"


def test_new_and_redone_clips_in_one_batch(tmp_path: Path) -> None:
    crowd = Crowd(10)
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", crowd.pictures(np.arange(3)))])
        writer.put([clip_of("b", crowd.pictures(np.arange(2))), clip_of("a", crowd.pictures(np.arange(1)))])
    assert Index.open(tmp_path).count() == 3


def test_a_clip_without_faces_is_indexed_too(tmp_path: Path) -> None:
    none = np.zeros((0, 0), np.float32)
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("empty", none)])
        assert writer.clips() == {}, "nobody knows how long a vector will be"
        writer.put([clip_of("empty", none), clip_of("full", Crowd(1).pictures(np.arange(1)))])
        writer.put([clip_of("void", none)])
    index = Index.open(tmp_path)
    assert [entry.clip for entry in index.clips()] == ["empty", "full", "void"]
    assert index.count() == 1


def test_a_clip_done_with_another_model_moves_to_its_table(tmp_path: Path) -> None:
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", Crowd(3).pictures(np.arange(3))), clip_of("b", Crowd(3).pictures(np.arange(3)))])
        writer.put([clip_of("a", Crowd(3, 64).pictures(np.arange(2)), model="new model")])
        assert sorted(entry.model for entry in writer.clips().values()) == ["new model", MODEL]
    index = Index.open(tmp_path)
    assert index.models() == ["new model", MODEL]
    assert [(entry.clip, entry.model) for entry in index.clips()] == [("a", "new model"), ("b", MODEL)]


def test_a_killed_move_between_models_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", Crowd(3).pictures(np.arange(3)))])
        with monkeypatch.context() as patch:
            patch.setattr(IndexWriter, "_leave_other_models", lambda self, model, clips: None)
            writer.put([clip_of("a", Crowd(3).pictures(np.arange(3)), model="new model")])
    with IndexWriter(tmp_path) as writer:
        assert [entry.fingerprint for entry in writer.clips().values()] == [""]
        writer.put([clip_of("a", Crowd(3).pictures(np.arange(3)), model="new model")])
        assert [(entry.model, entry.fingerprint) for entry in writer.clips().values()] == [("new model", "1")]


def test_a_model_has_vectors_of_one_length(tmp_path: Path) -> None:
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", Crowd(1, 128).pictures(np.arange(1)))])
        with pytest.raises(StoreError, match=rf"another length .*{MODEL}, 64 numbers; there is 128 numbers"):
            writer.put([clip_of("b", Crowd(1, 64).pictures(np.arange(1)))])


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_vectors_that_point_nowhere_are_refused(tmp_path: Path, bad: float) -> None:
    vectors = Crowd(2).pictures(np.arange(2))
    vectors[1] = bad
    with IndexWriter(tmp_path) as writer, pytest.raises(ValueError, match="zero or not finite"):
        writer.put([clip_of("a", vectors)])


def test_a_clip_twice_is_refused(tmp_path: Path) -> None:
    vectors = Crowd(2).pictures(np.arange(2))
    with IndexWriter(tmp_path) as writer, pytest.raises(ValueError, match="twice"):
        writer.put([clip_of("a", vectors), clip_of("a", vectors)])


def test_deleting_a_person_leaves_nothing_in_the_files(tmp_path: Path) -> None:
    crowd = Crowd(4)
    one, two = crowd.pictures(np.arange(4)), crowd.pictures(np.arange(3))
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", one, people=["0", "1", "2", "3"])])
        writer.put([clip_of("b", two, people=["0", "1", "2"])])
        assert _files_with(tmp_path, one[1]), "else this test shows nothing"
        assert writer.delete(Where(people=("1",))) == Removed(clips=0, tracks=2, rows=2)
    assert not _files_with(tmp_path, one[1])
    assert not _files_with(tmp_path, two[1])
    assert _files_with(tmp_path, one[2])
    index = Index.open(tmp_path)
    assert index.appearances(Where(people=("1",))) == []
    assert index.count() == 5
    assert len(index.clips()) == 2


def test_deleting_a_clip(tmp_path: Path) -> None:
    vectors = Crowd(3).pictures(np.arange(3))
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", vectors), clip_of("a", vectors, root="/other"), clip_of("b", vectors)])
        assert writer.delete(Where(clips=("a",), roots=("/other",))) == Removed(clips=1, tracks=3, rows=4)
        assert writer.delete(Where(clips=("nobody",))) == Removed(0, 0, 0)
        assert len(writer.clips()) == 2
    assert [(entry.root, entry.clip) for entry in Index.open(tmp_path).clips()] == [("/videos", "a"), ("/videos", "b")]


def test_forgetting_all_clips(tmp_path: Path) -> None:
    vectors = Crowd(3).pictures(np.arange(3))
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of(str(number), vectors) for number in range(20)])
        assert writer.forget(list(writer.clips())) == Removed(20, 60, 80)
    assert Index.open(tmp_path).count() == 0


def test_a_deletion_needs_a_condition(tmp_path: Path) -> None:
    with IndexWriter(tmp_path) as writer, pytest.raises(ValueError, match="without any condition"):
        writer.delete(Where())


def test_an_interrupted_deletion_is_finished_by_the_next_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = Crowd(4).pictures(np.arange(4))
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", vectors, people=["0", "1", "2", "3"])])
        with monkeypatch.context() as patch:
            patch.setattr(IndexWriter, "erase", lambda self: None)
            writer.delete(Where(people=("1",)))
    assert _files_with(tmp_path, vectors[1]), "logically gone, but still in a file"
    with IndexWriter(tmp_path):
        pass
    assert not _files_with(tmp_path, vectors[1])


def test_many_commits_stay_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(5, 16)
    monkeypatch.setattr(policy, "RETAIN_S", 0)
    with IndexWriter(tmp_path) as writer:
        for number in range(140):
            writer.put([clip_of(str(number), crowd.pictures(np.arange(5)))])
    index = Index.open(tmp_path)
    assert index.count() == 700
    assert len(list(tmp_path.rglob("*.lance"))) < 80


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", Crowd(1).pictures(np.arange(1)))])
    monkeypatch.setattr("facesearch_trt.search.tables.FORMAT", "newer")
    with pytest.raises(StoreError, match=r"another format .*asked for newer; there is 2"):
        Index.open(tmp_path).models()


def test_a_damaged_index_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with IndexWriter(tmp_path) as writer:
        writer.put([clip_of("a", Crowd(1).pictures(np.arange(1)))])
    for manifest in tmp_path.rglob("*.manifest"):
        manifest.write_bytes(b"not a manifest")
    with pytest.raises(StoreError, match=r"the index cannot be used .*If it is damaged, remove"):
        Index.open(tmp_path).count()


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the index"):
        IndexWriter(tmp_path / "file").__enter__()
