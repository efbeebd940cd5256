"""A person, or a clip, out of everything that the program made: nothing of the vectors is left in any file."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb", reason="LanceDB is not installed: pip install 'facesearch_trt[search]'")

from facesearch_trt.cli.main import main
from facesearch_trt.erasing import Erased, clips_older_than, erase_clip, erase_clips, erase_faces, erase_person
from facesearch_trt.errors import BusyError, InputError, OptionError, StoreError
from facesearch_trt.indexing import index_clips, read_people, update_index
from facesearch_trt.people.corrections import name_person, split_person
from facesearch_trt.people.decisions import Split, load_decisions
from facesearch_trt.people.files import STATE_FILE, read_people_table, read_state
from facesearch_trt.people.forgetting import forget
from facesearch_trt.people.gallery import GALLERY_FILE, load_gallery
from facesearch_trt.people.update import update_people
from facesearch_trt.report.html import REPORT_FILE, write_report
from facesearch_trt.search.index import Index
from facesearch_trt.search.where import Where
from facesearch_trt.search.writer import IndexWriter
from facesearch_trt.store import ClipStore, Model
from facesearch_trt.types import Array, FaceBatch, Frame

from .clip_results import SIMILARITY, STRICT, person, sighting, write_clip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Person 0 is in both clips, person 1 in "a", person 2 in "b"; everything is grouped and indexed."""
    root = tmp_path / "root"
    root.mkdir()
    write_clip(root, "a", [[0, 1]] * 5 + [[1]] * 3)
    write_clip(root, "b", [[2], [2, 0], [0], [0]])
    _refresh(root)
    return root


def _refresh(root: Path) -> None:
    update_people(root, SIMILARITY, STRICT)
    with IndexWriter(root.parent / "index") as writer:
        update_index(writer, [root])


def _shared(root: Path) -> int:
    return int(read_people(root)["a"][0].person_id)


def _vectors(root: Path, clip: str) -> dict[int, Array]:
    """Return the embeddings of each person of a clip, by face_id."""
    store = ClipStore(root / f"{clip}.pipeline")
    _, face_ids = store.load_identity()
    rows = [frame.faces.embeddings for frame in store.load_faces(with_chips=False, with_embeddings=True)]
    stacked = np.concatenate([row for row in rows if row is not None])
    return {int(face_id): stacked[face_ids == face_id] for face_id in set(face_ids.tolist())}


def _resembling(directory: Path, who: int) -> list[str]:
    """Return the files in which there is a vector that resembles a person.

    Every four bytes are read as a number: embeddings, means and unit vectors are all found, whatever the file is.
    """
    direction, found = person(who), []
    for path in sorted(directory.rglob("*")):
        if not path.is_file():
            continue
        contents = [path.read_bytes()]
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                contents = [np.ascontiguousarray(arrays[name]).tobytes() for name in arrays.files]
        for content in contents:
            for dtype in ("<f4", "<f8"):
                for shift in range(np.dtype(dtype).itemsize):
                    count = (len(content) - shift) // np.dtype(dtype).itemsize
                    if count < len(direction):
                        continue
                    numbers = np.frombuffer(content, dtype, count, shift)
                    with np.errstate(all="ignore"):
                        numbers = np.where(np.abs(numbers) < 100, numbers, 0).astype(np.float64)
                        dots = np.convolve(numbers, direction[::-1], "valid")
                        norms = np.sqrt(np.convolve(numbers**2, np.ones(len(direction)), "valid"))
                        if (dots > 0.75 * np.maximum(norms, 0.1)).any():
                            found.append(path.relative_to(directory).as_posix())
    return sorted(set(found))


def test_a_person_leaves_every_file(root: Path) -> None:
    everything = root.parent
    assert len(_resembling(everything, 0)) >= 4, "else this test shows nothing"
    before = {clip: _vectors(root, clip) for clip in "ab"}
    erased = erase_person(root, _shared(root), str(root.parent / "index"))
    assert (erased.clips, erased.faces, erased.people_entries) == (["a", "b"], 5 + 3, 2)
    assert erased.index_rows == 6
    assert _resembling(everything, 0) == []
    assert len(_resembling(everything, 1)) >= 3
    # The others are as they were.
    np.testing.assert_array_equal(_vectors(root, "a")[1], before["a"][1])
    np.testing.assert_array_equal(_vectors(root, "b")[0], before["b"][0])
    index = Index.open(root.parent / "index")
    assert index.count() == 2
    people = read_people(root)
    assert {clip: set(faces) for clip, faces in people.items()} == {"a": {1}, "b": {0}}
    assert index.count(Where(person_ids=(people["a"][1].person_id,))) == 1
    assert ClipStore(root / "a.pipeline").record().counts.faces == 8  # type: ignore[union-attr]


def test_it_stays_erased(root: Path) -> None:
    gone = _shared(root)
    erase_person(root, gone, str(root.parent / "index"))
    _refresh(root)
    assert Index.open(root.parent / "index").count(Where(person_ids=(str(gone),))) == 0
    state = read_state(root)
    assert state is not None
    assert gone not in state.gone
    again = erase_person(root, gone, str(root.parent / "index"))
    assert (again.clips, again.faces, again.index_rows) == ([], 0, 0)


_MOMENTS = (
    "erasing._clip_without",
    "erasing._forget",
    "erasing._finish",
    "people.forgetting._forget_vectors",
    "people.forgetting.drop_rows",
)


@pytest.mark.parametrize("run_between", [False, True])
@pytest.mark.parametrize("what", ["person", "face"])
@pytest.mark.parametrize("moment", _MOMENTS)
def test_an_interrupted_erasure_goes_on(
    root: Path, moment: str, what: str, run_between: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a run grouped the people in between."""
    shared, index = _shared(root), str(root.parent / "index")

    def erase() -> None:
        if what == "person":
            erase_person(root, shared, index)
        else:
            erase_faces(root, {"a": {0}, "b": {1}}, index)

    with monkeypatch.context() as patch:
        patch.setattr(f"facesearch_trt.{moment}", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            erase()
    if run_between:
        _refresh(root)
    erase()
    assert _resembling(root.parent, 0) == []
    assert shared not in set(read_people_table(root).values())
    _refresh(root)
    assert _resembling(root.parent, 0) == []
    state = read_state(root)
    assert state is not None
    assert set(state.gone) == set()


def _named(root: Path, who: int, name: str) -> None:
    """Let a person be named, and seen in the report."""
    name_person(root, who, name, (SIMILARITY, STRICT))
    write_report(root)
    assert name in (root / REPORT_FILE).read_text()


def _forgotten(root: Path, who: int, name: str) -> None:
    """Nothing is left of a person and the name, and nobody will have the id."""
    assert _resembling(root, who) == []
    for path in root.rglob("*"):
        if path.is_file() and path.suffix not in (".png", ".npz", ".pth"):
            assert name.encode() not in path.read_bytes(), path


def test_all_faces_of_a_person(root: Path) -> None:
    shared = _shared(root)
    _named(root, shared, "Annabel")
    first = erase_faces(root, {"a": {0}}, str(root.parent / "index"))
    assert (first.people_entries, first.names, first.index_rows) == (1, [], 3)
    assert read_people(root)["b"][1].name == "Annabel", "somebody is left"
    assert _resembling(root, 0) == [".people.npz", "b.pipeline/embeddings.pth"]
    second = erase_faces(root, {"b": {1}}, str(root.parent / "index"))
    assert (second.people_entries, second.names) == (1, ["Annabel"])
    _forgotten(root, 0, "Annabel")
    _refresh(root)
    _forgotten(root, 0, "Annabel")
    assert shared not in set(read_people_table(root).values())


def test_a_clip_that_is_gone(root: Path) -> None:
    shared = _shared(root)
    _named(root, shared, "Annabel")
    shutil.rmtree(root / "a.pipeline")
    erased = erase_person(root, shared, str(root.parent / "index"))
    assert (erased.clips, erased.people_entries) == (["b"], 2)
    _forgotten(root, 0, "Annabel")
    assert Index.open(root.parent / "index").count(Where(person_ids=(str(shared),))) == 0
    # Face by face as well.
    one = int(read_people(root)["a"][1].person_id)
    assert erase_faces(root, {"a": {1}}, str(root.parent / "index")).index_rows == 3
    assert one not in set(read_people_table(root).values())


def test_a_clip_that_is_not_finished(root: Path) -> None:
    shared = _shared(root)
    _named(root, shared, "Annabel")
    ClipStore(root / "a.pipeline").distrust()
    erased = Erased()
    with pytest.raises(StoreError, match=r"not everything was erased.*a\.pipeline: not all of its steps.*--clip a"):
        erase_person(root, shared, str(root.parent / "index"), erased)
    assert (erased.clips, erased.people_entries, erased.names) == (["b"], 1, ["Annabel"])
    assert set(_resembling(root, 0)) == {".people.npz", "a.pipeline/embeddings.pth"}
    # The person is still known there, so that it can be finished.
    shutil.rmtree(root / "a.pipeline")
    write_clip(root, "a", [[0, 1]] * 5 + [[1]] * 3)
    _refresh(root)
    assert erase_person(root, shared, str(root.parent / "index")).clips == ["a"]
    _forgotten(root, 0, "Annabel")


def test_clips_of_two_embedders(root: Path) -> None:
    shared = _shared(root)
    _named(root, shared, "Annabel")
    write_clip(root, "c", [[3]], model="other")
    erase_person(root, shared, None)
    _forgotten(root, 0, "Annabel")
    assert read_people(root)["a"], "the others are still known"


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_without_the_memory_of_the_grouping(root: Path, spoil: Callable[[Path], None]) -> None:
    shared = _shared(root)
    _named(root, shared, "Annabel")
    spoil(root / STATE_FILE)
    erase_person(root, shared, None)
    _forgotten(root, 0, "Annabel")
    # It is known that there was somebody, so that the id is nobody else's and it can be called again.
    assert erase_person(root, shared, None).clips == []
    write_clip(root, "c", [[3]])
    _refresh(root)
    assert shared not in set(read_people_table(root).values())


def test_people_that_were_split_and_merged(root: Path) -> None:
    """Decisions on people who are gone would stop every later run."""
    shared = _shared(root)
    split_person(root, shared, [("b", 1)], (SIMILARITY, STRICT))
    (root / STATE_FILE).unlink()
    erase_person(root, shared, None)
    other = read_people_table(root)["b", 1]
    assert load_decisions(root).split == [Split(shared, (("b", 1),), other)]
    update_people(root, SIMILARITY, STRICT)
    erase_person(root, other, None)
    assert load_decisions(root).split == []
    update_people(root, SIMILARITY, STRICT)


def test_a_clip_that_is_being_written(root: Path) -> None:
    shared, index = _shared(root), str(root.parent / "index")
    before = read_people_table(root)
    with ClipStore(root / "b.pipeline").begin({"identity": "again"}):
        with pytest.raises(BusyError, match="another process is writing"):
            erase_clip(root, "b", index)
        assert read_people_table(root) == before
        assert Index.open(index).count(Where(clips=("b",))) == 2
        with pytest.raises(BusyError, match="all else is"):
            erase_person(root, shared, index)
        assert read_people_table(root)["b", 1] == shared
        assert ("a", 0) not in read_people_table(root)
        old = Erased()
        with pytest.raises(BusyError):
            erase_clips(root, ["a", "b"], index, old)
        assert old.clips == ["a"]
    assert (root / "b.pipeline").is_dir()
    assert erase_person(root, shared, index).clips == ["b"]
    assert _resembling(root.parent, 0) == []


def _refusing(monkeypatch: pytest.MonkeyPatch, name: str, method: str) -> None:
    """Let a clip's directory be one that cannot be written: root may write everywhere."""
    original = getattr(ClipStore, method)

    def refused(store: ClipStore) -> bool:
        if store.directory.name == f"{name}.pipeline":
            raise StoreError("cannot write .lock: permission denied", where=store.directory)
        return bool(original(store))

    monkeypatch.setattr(ClipStore, method, refused)


def test_a_clip_that_cannot_be_written_stops_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(root, "c", [[3]])
    _refresh(root)
    _refusing(monkeypatch, "b", "is_busy")
    erased, index = Erased(), str(root.parent / "index")
    with pytest.raises(StoreError, match=r"all else is.*b\.pipeline: cannot write \.lock"):
        erase_clips(root, ["a", "b", "c"], index, erased)
    assert erased.clips == ["a", "c"]
    assert [path.name for path in root.glob("*.pipeline")] == ["b.pipeline"]
    assert {clip for clip, _ in read_people_table(root)} == {"b"}
    assert Index.open(index).count() == Index.open(index).count(Where(clips=("b",))) == 2


def test_another_clip_that_cannot_be_tidied_stops_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, index = _shared(root), str(root.parent / "index")
    _named(root, shared, "Annabel")
    ClipStore(root / "b.pipeline").distrust()
    (root / "0.pipeline").mkdir()
    _refusing(monkeypatch, "0", "tidy")
    with pytest.raises(StoreError, match=r"b\.pipeline: not all of its steps.*0\.pipeline: cannot write"):
        erase_person(root, shared, index)
    assert "Annabel" not in (root / REPORT_FILE).read_text()
    assert Index.open(index).count(Where(clips=("a",))) == 1


def test_a_report_that_cannot_be_written_leaves_the_index_done(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, indexed = str(root.parent / "index"), []
    write_report(root)
    monkeypatch.setattr("facesearch_trt.erasing.index_clips", _counted(index_clips, indexed))
    monkeypatch.setattr(
        "facesearch_trt.erasing.write_report",
        lambda _: (_ for _ in ()).throw(StoreError("cannot write report.html: no space left", where=root)),
    )
    with pytest.raises(StoreError, match=r"not everything was erased.*report\.html"):
        erase_person(root, _shared(root), index)
    assert len(indexed) == 1


@pytest.mark.parametrize("what", [["--person", "0"], ["--face", "a:0"], ["--clip", "a"]])
def test_an_index_of_another_format_is_what_is_left(
    root: Path, what: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if what[0] == "--person":
        what = ["--person", str(_shared(root))]
    index = str(root.parent / "index")
    with monkeypatch.context() as patch:
        patch.setattr("facesearch_trt.search.tables.FORMAT", "newer")
        assert main(["erase", str(root), *what, "--index", index, "--yes"]) == 1
    error = capsys.readouterr().err
    assert "not everything was erased" in error
    assert error.count("the index is of another format") == 1
    assert ("a", 0) not in read_people_table(root)
    assert "a.pipeline/embeddings.pth" not in _resembling(root, 0)
    shutil.rmtree(index)
    _refresh(root)
    assert Index.open(index).count(Where(clips=("a",))) == (0 if what[0] == "--clip" else 1)


def test_results_on_another_disk(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk2"
    (root / "b.pipeline").rename(elsewhere)
    (root / "b.pipeline").symlink_to(elsewhere)
    assert erase_clip(root, "b", str(tmp_path / "index")).faces == 5
    assert not elsewhere.exists()
    assert not (root / "b.pipeline").is_symlink()


def test_clips_that_are_old(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ClipStore(root / "a.pipeline").distrust()
    (root / "killed.pipeline" / ".partial").mkdir(parents=True)
    (root / "notes.pipeline").mkdir()
    assert clips_older_than(root, 1, time.time()) == []
    assert clips_older_than(root, 1, time.time() + 2 * 86_400) == ["a", "b", "killed"]
    writers, groupings = [], []
    monkeypatch.setattr(IndexWriter, "__enter__", _counted(IndexWriter.__enter__, writers))
    monkeypatch.setattr("facesearch_trt.erasing.forget", _counted(forget, groupings))
    erased = erase_clips(root, ["a", "b", "killed"], str(root.parent / "index"))
    assert erased.clips == ["a", "b", "killed"]
    assert (len(writers), len(groupings)) == (1, 1)
    assert {who: _resembling(root.parent, who) for who in range(3)} == {0: [], 1: [], 2: []}


def _counted(function: Callable[..., object], calls: list[object]) -> Callable[..., object]:
    def call(*args: object, **named: object) -> object:
        calls.append(args)
        return function(*args, **named)

    return call


def test_names_and_gallery_forget(root: Path) -> None:
    shared = _shared(root)
    vectors = np.stack([person(0), person(1)]).astype(np.float32)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        model=np.array("net"),
        names=np.frombuffer(b"Ann\0Bob", np.uint8),
        vectors=vectors,
        people=np.array([0, 1]),
        maker=np.array("m"),
        photo_keys=np.array(["x", "y"], "U64"),
        photo_vectors=vectors,
    )
    (root / GALLERY_FILE).write_bytes(buffer.getvalue())
    (root / "people.yaml").write_text(f"names: {{{shared}: Ann}}\n")
    _refresh(root)
    erased = erase_person(root, shared, str(root.parent / "index"))
    assert erased.names == ["Ann"]
    gallery = load_gallery(root)
    assert gallery is not None
    assert gallery.names == ("Bob",)
    assert b"Ann" not in (root / "people.yaml").read_bytes()
    assert "Ann" not in (root / "names.csv").read_text()
    assert _resembling(root.parent, 0) == []
    assert _resembling(root, 1)


def test_a_person_of_one_clip(root: Path) -> None:
    erased = erase_faces(root, {"a": {0}}, str(root.parent / "index"))
    assert (erased.clips, erased.faces) == (["a"], 5)
    assert Index.open(root.parent / "index").count(Where(clips=("a",))) == 1
    assert Index.open(root.parent / "index").count(Where(clips=("b",))) == 2
    with pytest.raises(InputError, match="no finished clip"):
        erase_faces(root, {"nowhere": {0}}, None)


def test_a_clip(root: Path) -> None:
    erased = erase_clip(root, "b", str(root.parent / "index"))
    assert (erased.clips, erased.faces, erased.index_rows) == (["b"], 5, 7)
    assert not (root / "b.pipeline").exists()
    assert _resembling(root.parent, 2) == []
    assert _resembling(root.parent, 1)
    for name in ("b", "../root/a", ".", ""):
        with pytest.raises(InputError, match="no results"):
            erase_clip(root, name, None)


def test_nobody_of_this_number(root: Path) -> None:
    with pytest.raises(OptionError, match="no such person"):
        erase_person(root, 99, None)


def test_crops_go_and_those_of_others_stay(tmp_path: Path) -> None:
    directory = tmp_path / "a.pipeline"
    rng = np.random.default_rng(0)
    chips = rng.integers(0, 256, (4, 2, 8, 8, 3), np.uint8)

    def frames() -> object:
        for number in range(4):
            faces = FaceBatch(
                np.tile([[0, 0, 50, 50]], (2, 1)).astype(np.float32),
                np.ones(2, np.float32),
                np.zeros((2, 5, 2), np.float32),
            )
            faces.quality = np.ones((2, 4), np.float32)
            faces.chips = chips[number]
            faces.embeddings = np.stack([sighting(who, number) for who in (0, 1)]).astype(np.float32)
            yield Frame(number, number / 25, 64, 64, image=np.zeros((64, 64, 3), np.uint8), faces=faces)

    store = ClipStore(directory)
    with (
        ThreadPoolExecutor(1) as pool,
        store.begin(dict.fromkeys(("frames", "faces", "embeddings", "identity"), "k")) as writer,
    ):
        passed = writer.write_frames(frames(), keep="all", png_compression=1, executor=pool)  # type: ignore[arg-type]
        for _ in writer.write_embeddings(writer.write_faces(passed, executor=pool), model="net", dimension=64):
            pass
        writer.write_identity(np.array([0, 1] * 4), np.array([0, 1] * 4))
        writer.record.models["embedder"] = Model("net", "0", "none")
        writer.commit()
    erased = erase_faces(tmp_path, {"a": {0}}, None)
    assert (erased.faces, erased.crops, erased.pictures_left) == (4, 4, 4)
    assert sorted(path.name for path in (directory / "faces").iterdir()) == [
        f"frame_000{n}_face_00.png" for n in range(4)
    ]
    with ThreadPoolExecutor(1) as pool:
        left = [frame.faces.chips for frame in store.load_faces(with_chips=True, with_embeddings=True, executor=pool)]
    np.testing.assert_array_equal(np.concatenate(left), chips[:, 1])  # type: ignore[arg-type]
    assert store.is_done("identity", "k"), "a run does not do the clip again"


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = str(root.parent / "index")
    (root / "exports").mkdir()
    write_report(root)
    assert main(["erase", str(root), "--person", str(_shared(root)), "--index", index]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["erase", str(root), "--person", str(_shared(root)), "--index", index, "--yes"]) == 0
    out = capsys.readouterr().out
    assert "results of 2 clips: 8 rows of faces" in out
    assert "exports, which was made before" in out
    assert "report.html" not in out
    with ClipStore(root / "b.pipeline").begin({"identity": "again"}):
        assert main(["erase", str(root), "--older-than", "0", "--index", index, "--yes", "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["clips"] == ["a"]
    assert "b.pipeline: another process" in shown.err
    write_clip(root, "a", [[1]])
    _refresh(root)
    assert main(["erase", str(root), "--face", "a:1", "--index", index, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 0
    assert main(["erase", str(root), "--face", "a:0", "--index", index, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 1
    assert main(["erase", str(root), "--face", "a", "--yes"]) == 2
    assert main(["erase", str(root), "--clip", "b", "--index", index + "2", "--yes"]) == 2
