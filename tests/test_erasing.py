"""A person, or a clip, out of everything that the program made: nothing of the vectors is left in any file."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb", reason="LanceDB is not installed: pip install 'facesearch_trt[search]'")

from facesearch_trt.cli.main import main
from facesearch_trt.erasing import erase_clip, erase_faces, erase_person
from facesearch_trt.errors import InputError, OptionError
from facesearch_trt.indexing import read_people, update_index
from facesearch_trt.people.files import read_state
from facesearch_trt.people.gallery import GALLERY_FILE, load_gallery
from facesearch_trt.people.update import update_people
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


def test_an_interrupted_erasure_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = _shared(root)
    with monkeypatch.context() as patch:
        patch.setattr("facesearch_trt.erasing._forget_name", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            erase_person(root, shared, str(root.parent / "index"))
    erase_person(root, shared, str(root.parent / "index"))
    assert _resembling(root.parent, 0) == []


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
    assert main(["erase", str(root), "--person", str(_shared(root)), "--index", index]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["erase", str(root), "--person", str(_shared(root)), "--index", index, "--yes"]) == 0
    out = capsys.readouterr().out
    assert "results of 2 clips: 8 rows of faces" in out
    assert "exports, which was made before" in out
    assert main(["erase", str(root), "--face", "a:1", "--index", index, "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 8
    assert main(["erase", str(root), "--face", "a", "--yes"]) == 2
    assert main(["erase", str(root), "--clip", "b", "--index", index + "2", "--yes"]) == 2
