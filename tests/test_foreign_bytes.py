"""Every parser of files that users and other programs write: any bytes give a value or an error of ours, and an end."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesearch_trt.config import CONFIGS, load_options
from facesearch_trt.errors import FaceSearchError
from facesearch_trt.evaluation.truth import read_mot, read_truth
from facesearch_trt.graph.containers import checked_layout
from facesearch_trt.graph.image_size import image_size
from facesearch_trt.graph.images import ImageSource
from facesearch_trt.identity.deep_sort import load_tracker_settings
from facesearch_trt.models.catalogue import load_catalogue
from facesearch_trt.people.decisions import DECISIONS_FILE, load_decisions
from facesearch_trt.people.files import NAMES_FILE, PEOPLE_FILE, STATE_FILE, read_names, read_people_table, read_state
from facesearch_trt.people.gallery import GALLERY_FILE, load_gallery
from facesearch_trt.people.log import LOG_FILE, read_log
from facesearch_trt.photo import read_photo
from facesearch_trt.store.record import RunRecord, read_record
from facesearch_trt.store.schema import FACES_IDENTIFIED, FRAMES, QUALITY, SHOTS, Table
from facesearch_trt.store.tables import read_rows
from facesearch_trt.types import Clip

from .clip_results import SIMILARITY, STRICT, write_clip

Parser = Callable[[Path], object]


def _table(table: Table) -> Parser:
    return lambda path: list(read_rows(path, table))


def _images(path: Path) -> object:
    clip = Clip("folder", path.parent, "images", path.parent / "folder.pipeline")
    with ImageSource(clip) as source:
        return list(source)


def _encoded(suffix: str) -> bytes:
    picture = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    return cv2.imencode(suffix, picture)[1].tobytes()


def _mp4() -> bytes:
    def box(kind: bytes, content: bytes) -> bytes:
        return (len(content) + 8).to_bytes(4, "big") + kind + content

    handler = box(b"hdlr", bytes(8) + b"vide" + bytes(12))
    sizes = box(b"stsz", bytes(8) + (250).to_bytes(4, "big"))
    media = box(b"mdia", handler + box(b"minf", box(b"stbl", sizes)))
    return box(b"ftyp", b"isom" + bytes(4)) + box(b"moov", box(b"trak", media)) + box(b"mdat", bytes(40))


def _state_bytes(path: Path) -> bytes:
    """Return a state that the program wrote itself."""
    from facesearch_trt.people.update import update_people

    root = path / "root"
    root.mkdir()
    write_clip(root, "one", [[1, 2], [1]])
    update_people(root, SIMILARITY, STRICT)
    return (root / STATE_FILE).read_bytes()


FACES_CSV = ",".join(FACES_IDENTIFIED.names) + "\n" + ",".join("1" for _ in FACES_IDENTIFIED.names) + "\n"

PARSERS: dict[str, tuple[str, Parser, bytes]] = {
    "options": ("options.yaml", load_options, (CONFIGS / "default.yaml").read_bytes()[:1500]),
    "catalogue": ("models.yaml", load_catalogue, (CONFIGS / "models.yaml").read_bytes()[:3000]),
    "deep_sort": ("deep_sort.yaml", load_tracker_settings, (CONFIGS / "deep_sort.yaml").read_bytes()),
    "decisions": (
        DECISIONS_FILE,
        lambda path: load_decisions(path.parent),
        b"names:\n  3: Ann\nmerge:\n- [1, 2]\nsplit:\n- person: 4\n  faces: [[a, 1]]\n",
    ),
    "people.csv": (PEOPLE_FILE, lambda path: read_people_table(path.parent), b"clip,face_id,person_id\na,0,1\nb,2,1\n"),
    "names.csv": (
        NAMES_FILE,
        lambda path: read_names(path.parent),
        b"person_id,name,similarity,source\n1,Ann,0.5,gallery\n2,Bo,,decision\n",
    ),
    "people_log.csv": (LOG_FILE, lambda path: read_log(path.parent), b"at,event,person_id,into,why\nx,merged,1,2,y\n"),
    "people.npz": (STATE_FILE, lambda path: read_state(path.parent), b""),
    "run.json": ("run.json", lambda path: read_record(path.parent), RunRecord(clip="a").to_json().encode()),
    "faces.csv": ("faces.csv", _table(FACES_IDENTIFIED), FACES_CSV.encode()),
    "frames.csv": ("frames.csv", _table(FRAMES), b"frame_num,pts_s,width,height,file\n0,0.04,640,360,\n"),
    "shots.csv": ("shots.csv", _table(SHOTS), (",".join(SHOTS.names) + "\n0,0,3,0.0,0.1\n").encode()),
    "quality.csv": ("quality.csv", _table(QUALITY), (",".join(QUALITY.names) + "\n0,1,1,1,1\n").encode()),
    "truth": ("a.csv", read_truth, b"frame_num,x1,y1,x2,y2,person\n0,1,1,9,9,ann\n"),
    "MOT": ("a.txt", read_mot, b"1,1,10,10,20,20,1,-1,-1,-1\n2,1,10,10,20,20,1\n"),
    "mp4": ("a.mp4", checked_layout, _mp4()),
    "mkv": ("a.mkv", checked_layout, bytes.fromhex("1a45dfa3844286810118538067") + bytes([0x88]) + bytes(20)),
    "avi": ("a.avi", checked_layout, b"RIFF" + (40).to_bytes(4, "little") + b"AVI " + bytes(36)),
    "jpeg": ("a.jpg", _images, _encoded(".jpg")),
    "png": ("a.png", _images, _encoded(".png")),
    "webp": ("a.webp", _images, _encoded(".webp")),
    "bmp": ("a.bmp", _images, _encoded(".bmp")),
    "photo": ("a.jpg", read_photo, _encoded(".jpg")),
    "gallery": (GALLERY_FILE, lambda path: load_gallery(path.parent), b""),
}


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return a file as it was, changed in a few places, cut, or with something put in; or any bytes at all."""
    if not whole or draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=400))
    content = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, len(content) - 1)) if content else 0
        kind = draw(st.integers(0, 3))
        if kind == 0:
            content[position : position + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == 1:
            content[position:position] = draw(
                st.binary(max_size=6)
                | st.sampled_from([b"\n", b",", b'"', b"\0", b": ", b"- ", b"&a ", b"*a", b"\xff" * 8])
            )
        elif kind == 2:
            del content[position : position + draw(st.integers(1, 40))]
        else:
            del content[position:]
    return bytes(content)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_bytes(name: str, data: st.DataObject) -> None:
    file, parser, whole = PARSERS[name]
    if name in ("people.npz", "gallery"):
        whole = _whole_state() if name == "people.npz" else _whole_gallery()
    content = data.draw(damaged(whole))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / file
        path.write_bytes(content)
        try:
            parser(path)
        except FaceSearchError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", [name for name, (_, _, whole) in PARSERS.items() if whole])
def test_what_is_damaged_there_is_good_as_it_is(name: str, tmp_path: Path) -> None:
    """Otherwise the test above would only ever see the first check fail."""
    file, parser, whole = PARSERS[name]
    if name in ("options", "catalogue"):
        whole = (CONFIGS / ("default.yaml" if name == "options" else "models.yaml")).read_bytes()
    path = tmp_path / file
    path.write_bytes(whole)
    parser(path)


@given(st.binary(max_size=64))
def test_the_size_of_anything(content: bytes) -> None:
    size = image_size(content)
    assert size is None or len(size) == 2


@pytest.mark.parametrize(
    "content", [b"a: 2001-99-99\n", b"[" * 3000, b"{a: &x [*x]}", b"\xff\xfe", b"? [a]\n: 1", b"- " * 3000]
)
@pytest.mark.parametrize("name", ["options", "catalogue", "deep_sort", "decisions"])
def test_yaml_that_its_reader_chokes_on(name: str, content: bytes, tmp_path: Path) -> None:
    file, parser, _ = PARSERS[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(FaceSearchError):
        parser(tmp_path / file)


def _whole_gallery() -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        model=np.array("net"),
        names=np.frombuffer(b"Ann\0Bo", np.uint8),
        vectors=np.zeros((2, 4), np.float32),
        people=np.array([0, 1]),
    )
    return file.getvalue()


_STATE: list[bytes] = []


def _whole_state() -> bytes:
    if not _STATE:
        with tempfile.TemporaryDirectory() as directory:
            _STATE.append(_state_bytes(Path(directory)))
        assert np.load(io.BytesIO(_STATE[0])).files
    return _STATE[0]
