"""The bytes of every table, and what is said of tables that somebody changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import StoreError, TableError
from facesearch_trt.store import ClipStore
from facesearch_trt.types import FaceBatch, Frame

from .synthetic import KEYS, exhaust, single_pass


def _two_frames() -> list[Frame]:
    """Frame 0 of shot 0 without a face, frame 9999 and 10000 of shot 1 with two and one."""
    image = np.zeros((4, 6, 3), np.uint8)

    def faces(count: int) -> FaceBatch:
        points = np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2) / 3
        return FaceBatch(
            boxes=np.array([[-0.001, 1 / 3, 2 / 3, 12345.678]] * count, np.float32),
            scores=np.array([0.87654321] * count, np.float32),
            landmarks=points,
            chips=np.zeros((count, 8, 8, 3), np.uint8),
            quality=np.array([[100.127, 0.55556, 1.0, 0.0]] * count, np.float32),
            embeddings=np.array([[3.0, 4.0]] * count, np.float32),
        )

    return [
        Frame(0, 0.852, 6, 4, image=image, shot=0),
        Frame(9999, 334.4856666667, 6, 4, image=image, shot=2, faces=faces(2)),
        Frame(10000, 334.519033, 6, 4, image=image, shot=2, faces=faces(1)),
    ]


def test_golden_tables(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with ThreadPoolExecutor(1) as pool, store.begin(KEYS) as writer:
        frames = writer.write_frames(_two_frames(), keep="faces", png_compression=1, executor=pool)
        frames = writer.write_faces(frames, executor=pool)
        exhaust(writer.write_embeddings(frames, model="net", dimension=2))
        writer.write_identity(np.array([4, 5, 4]), np.array([0, -1, 0]))
        writer.commit()
    directory = store.directory
    assert sorted(str(path.relative_to(directory)) for path in directory.rglob("*")) == [
        "embeddings.pth",
        "faces",
        "faces.csv",
        "faces/frame_10000_face_00.png",
        "faces/frame_9999_face_00.png",
        "faces/frame_9999_face_01.png",
        "frame_10000.png",
        "frame_9999.png",
        "frame_tbl.csv",
        "frames.csv",
        "quality.csv",
        "run.json",
        "shots.csv",
    ]
    frames_csv = (
        b"frame_num,pts_s,width,height,file\n"
        b"0,0.852000,6,4,\n"
        b"9999,334.485667,6,4,frame_9999.png\n"
        b"10000,334.519033,6,4,frame_10000.png\n"
    )
    assert (directory / "frames.csv").read_bytes() == frames_csv
    assert (directory / "frame_tbl.csv").read_bytes() == frames_csv
    assert (directory / "shots.csv").read_bytes() == (
        b"shot,first_frame_num,last_frame_num,start_s,end_s\n"
        b"0,0,0,0.852000,0.852000\n"
        b"2,9999,10000,334.485667,334.519033\n"
    )
    assert (directory / "faces.csv").read_bytes() == (
        b"face_num,frame_num,x1,y1,x2,y2,score,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
        b"left_mouth_x,left_mouth_y,right_mouth_x,right_mouth_y,file,enorm,track_id,face_id\n"
        b"0,9999,0.00,0.33,0.67,12345.68,0.8765,0.00,0.33,0.67,1.00,1.33,1.67,2.00,2.33,2.67,3.00,"
        b"faces/frame_9999_face_00.png,5.000000,4,0\n"
        b"1,9999,0.00,0.33,0.67,12345.68,0.8765,3.33,3.67,4.00,4.33,4.67,5.00,5.33,5.67,6.00,6.33,"
        b"faces/frame_9999_face_01.png,5.000000,5,-1\n"
        b"2,10000,0.00,0.33,0.67,12345.68,0.8765,0.00,0.33,0.67,1.00,1.33,1.67,2.00,2.33,2.67,3.00,"
        b"faces/frame_10000_face_00.png,5.000000,4,0\n"
    )
    assert (directory / "quality.csv").read_bytes() == (
        b"face_num,size_px,sharpness,frontal,quality\n"
        b"0,100.13,0.5556,1.0000,0.0000\n"
        b"1,100.13,0.5556,1.0000,0.0000\n"
        b"2,100.13,0.5556,1.0000,0.0000\n"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return single_pass(tmp_path_factory.mktemp("store") / "clip.pipeline", count=8).directory


def _lines(edit: Callable[[list[str]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        lines = path.read_text().splitlines()
        edit(lines)
        path.write_text("\n".join(lines) + "\n")

    return apply


def _cell(row: int, column: int, value: str) -> Callable[[Path], None]:
    def edit(lines: list[str]) -> None:
        cells = lines[row].split(",")
        cells[column] = value
        lines[row] = ",".join(cells)

    return _lines(edit)


def _swap(lines: list[str]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


CHANGES = [
    ("faces.csv", _lines(lambda rows: rows.pop()), "wrong number of rows", "frames_to_faces.py"),
    ("faces.csv", _lines(lambda rows: rows.append(rows[-1])), "'face_num'", "frames_to_faces.py"),
    ("faces.csv", _lines(_swap), "'face_num'", "frames_to_faces.py"),
    ("faces.csv", _cell(0, 3, "why"), "'y1' is missing", "frames_to_faces.py"),
    ("faces.csv", _cell(0, 3, "x1"), "'x1' is there twice", "frames_to_faces.py"),
    ("faces.csv", _cell(2, 2, "nan"), "line 3: bad value in column 'x1'", "frames_to_faces.py"),
    ("faces.csv", _cell(2, 6, ""), "'score'", "frames_to_faces.py"),
    ("faces.csv", _cell(1, 1, "1.0"), "'frame_num'", "frames_to_faces.py"),
    ("faces.csv", _cell(-1, 1, "99"), "'frame_num'", "frames_to_faces.py"),
    ("faces.csv", _cell(1, 17, "../../secret.png"), "'file'", "frames_to_faces.py"),
    ("faces.csv", _lines(lambda rows: rows.insert(2, "1,2")), "line 3: wrong number of cells", "frames_to_faces.py"),
    ("faces.csv", lambda path: path.write_bytes(b""), "'face_num' is missing", "frames_to_faces.py"),
    ("faces.csv", lambda path: path.write_bytes(b"\xff\xfe\x00"), "damaged", "frames_to_faces.py"),
    ("faces.csv", Path.unlink, "no such table", "frames_to_faces.py"),
    ("quality.csv", _lines(lambda rows: rows.pop()), "wrong number of rows", "frames_to_faces.py"),
    ("quality.csv", _cell(1, 4, "inf"), "'quality'", "frames_to_faces.py"),
    ("frames.csv", _lines(lambda rows: rows.pop(0)), "missing", "video_to_frames.py"),
    ("frames.csv", _lines(lambda rows: rows.pop()), "wrong number of rows", "video_to_frames.py"),
    ("frames.csv", _lines(_swap), "'frame_num' is not in order", "video_to_frames.py"),
    ("frames.csv", _cell(3, 4, "picture.png"), "'file'", "video_to_frames.py"),
    ("frames.csv", _cell(3, 1, "soon"), "'pts_s'", "video_to_frames.py"),
    ("shots.csv", _lines(lambda rows: rows.pop()), "no shot has frame", "video_to_frames.py"),
]


@pytest.mark.parametrize(("file", "change", "words", "remedy"), CHANGES)
def test_changed_table(
    finished: Path, tmp_path: Path, file: str, change: Callable[[Path], object], words: str, remedy: str
) -> None:
    directory = tmp_path / "clip.pipeline"
    shutil.copytree(finished, directory)
    change(directory / file)
    store = ClipStore(directory)
    with ThreadPoolExecutor(1) as pool, pytest.raises(TableError) as caught:
        if file == "frames.csv":
            exhaust(store.load_frames(executor=pool))
        exhaust(store.load_faces(with_chips=False, with_embeddings=False))
    message = str(caught.value)
    assert file in message and words in message and remedy in message
    assert "\n" not in message


def test_last_frame_missing_without_a_face_in_it(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "clip.pipeline")
    (tmp_path / "clip.pipeline/faces.csv").write_text((finished / "faces.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(TableError, match=r"faces.csv: wrong number of rows .asked for \d+; there is 0"):
        exhaust(ClipStore(tmp_path / "clip.pipeline").load_faces(with_chips=False, with_embeddings=False))


def test_a_damaged_step_is_named_when_the_next_one_reads_it(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "clip.pipeline"
    shutil.copytree(finished, directory)
    _cell(0, 18, "norm")(directory / "faces.csv")
    store = ClipStore(directory)
    count = store.record().counts.faces  # type: ignore[union-attr]
    with (
        pytest.raises(TableError, match=r"'enorm' is missing.*faces_to_embeddings.py"),
        store.begin({"identity": "k4"}) as writer,
    ):
        writer.write_identity(np.zeros(count, int), np.zeros(count, int))
        writer.commit()
    assert store.is_done("identity", "k4"), "a pass that failed before its commit changes nothing"


def test_columns_of_the_user_are_read_over_and_dropped_with_a_warning(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "clip.pipeline"
    shutil.copytree(finished, directory)
    path = directory / "faces.csv"
    lines = path.read_text().splitlines()
    # As a spreadsheet writes it: byte-order mark, quotes, carriage returns, columns in another order.
    path.write_bytes(
        b"\xef\xbb\xbf"
        + "".join(f'"{i}",{line}\r\n' for i, line in enumerate(lines)).replace('"0",', "note,", 1).encode()
    )
    store = ClipStore(directory)
    before = list(ClipStore(finished).load_faces(with_chips=False, with_embeddings=False))
    after = list(store.load_faces(with_chips=False, with_embeddings=False))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.faces.landmarks, other.faces.landmarks)
    tracks, people = store.load_identity()
    with store.begin({"identity": "k4"}) as writer:
        writer.write_identity(tracks, people)
        writer.commit()
    assert "dropped: note" in caplog.text
    assert path.read_bytes() == (finished / "faces.csv").read_bytes()


def test_embeddings_of_another_table(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "clip.pipeline"
    shutil.copytree(finished, directory)
    other = single_pass(tmp_path / "other.pipeline", count=12)
    shutil.copy(other.directory / "embeddings.pth", directory)
    with pytest.raises(TableError, match=r"embeddings.pth: wrong number of embeddings.*faces_to_embeddings.py"):
        exhaust(ClipStore(directory).load_faces(with_chips=False, with_embeddings=True))


def test_pictures_that_changed(finished: Path, tmp_path: Path) -> None:
    directory = tmp_path / "clip.pipeline"
    shutil.copytree(finished, directory)
    store = ClipStore(directory)
    picture = directory / "frame_0003.png"
    chip = next((directory / "faces").iterdir())
    with ThreadPoolExecutor(2) as pool:
        for content, words in ((picture.read_bytes()[:-200], "damaged"), (b"", "damaged"), (chip.read_bytes(), "size")):
            picture.write_bytes(content)
            with pytest.raises(StoreError, match=rf"frame_0003.png.*{words}|{words}.*frame_0003.png"):
                exhaust(store.load_frames(executor=pool))
        picture.unlink()
        with pytest.raises(StoreError, match=r"frame_0003.png: cannot read a picture.*video_to_frames.py"):
            exhaust(store.load_frames(executor=pool))
        chip.unlink()
        with pytest.raises(StoreError, match=r"_face_.*cannot read a picture.*frames_to_faces.py"):
            exhaust(store.load_faces(with_chips=True, with_embeddings=False, executor=pool))
