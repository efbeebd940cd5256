"""embeddings.pth against our reader everywhere, and against the real torch where there is one."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.errors import TableError
from facesearch_trt.store.pth import read_pth, write_pth


def _write(path: Path, values: np.ndarray, model: str = "net") -> Path:
    rows = path.with_suffix(".f32")
    rows.write_bytes(values.astype("<f4").tobytes())
    write_pth(path, rows, *values.shape, model)
    return path


def _values(count: int, dimension: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, dimension)).astype(np.float32)


SHAPES = [(0, 128), (1, 1), (3, 128), (5000, 16)]


@pytest.mark.parametrize(("count", "dimension"), SHAPES)
def test_round_trip(tmp_path: Path, count: int, dimension: int) -> None:
    values = _values(count, dimension)
    found = read_pth(_write(tmp_path / "embeddings.pth", values, "model Ü"))
    assert (len(found), found.dimension, found.model) == (count, dimension, "model Ü")
    assert found.embeddings.dtype == np.float32 and found.face_num.dtype == np.int64
    np.testing.assert_array_equal(found.embeddings, values)
    np.testing.assert_array_equal(found.face_num, np.arange(count))
    in_turn = list(found.in_turn())
    np.testing.assert_array_equal(np.array(in_turn, np.float32).reshape(count, dimension), values)


def _entries(path: Path) -> dict[str, int]:
    """Return where each entry's content starts, from the local headers."""
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        result = {}
        for info in archive.infolist():
            name, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
            start = info.header_offset + 30 + name + extra
            assert data[start : start + min(info.file_size, 100)] == archive.read(info)[:100]
            assert info.compress_type == zipfile.ZIP_STORED
            result[info.filename] = start
    return result


def test_entries_are_stored_and_aligned(tmp_path: Path) -> None:
    starts = _entries(_write(tmp_path / "embeddings.pth", _values(3, 5)))
    assert set(starts) >= {f"embeddings/{name}" for name in ("data.pkl", "byteorder", "data/0", "data/1", "version")}
    assert {start % 64 for start in starts.values()} == {0}


def test_entries_over_4_gib_are_aligned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit lowered instead of the file made so large; the two numbers of zip64 are then in every header."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    path = _write(tmp_path / "embeddings.pth", _values(3, 5))
    monkeypatch.undo()
    assert {start % 64 for start in _entries(path).values()} == {0}
    np.testing.assert_array_equal(read_pth(path).embeddings, _values(3, 5))


def test_pickle_names_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(_write(tmp_path / "embeddings.pth", _values(3, 5))) as archive:
        names = {
            arg
            for opcode, arg, _ in __import__("pickletools").genops(archive.read("embeddings/data.pkl"))
            if opcode.name == "GLOBAL"
        }
    assert names == {
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch LongStorage",
        "collections OrderedDict",
    }


def test_rows_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match="has 20 bytes, not 24"):
        write_pth(tmp_path / "embeddings.pth", tmp_path / "rows", 2, 3, "net")


def _repacked(source: Path, target: Path, **entries: bytes | None) -> Path:
    """Copy an archive with other contents of ``data_pkl``, ``byteorder``; None leaves an entry out."""
    changes = {f"embeddings/{name.replace('_', '.')}": content for name, content in entries.items()}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            content = changes.get(info.filename, old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
    return target


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_to_act_is_refused(tmp_path: Path) -> None:
    good = _write(tmp_path / "embeddings.pth", _values(3, 5))
    bad = _repacked(good, tmp_path / "bad.pth", data_pkl=pickle.dumps(_Evil(tmp_path / "done"), 2))
    with pytest.raises(TableError, match=r"bad\.pth: .*asks for posix\.mkdir"):
        read_pth(bad)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"data_pkl": None}, r"no data\.pkl"),
        ({"data_pkl": pickle.dumps([1], 2)}, "list"),
        ({"data_pkl": pickle.dumps({"model": "net"}, 2)}, r"keys \['model'\]"),
        (
            {"data_pkl": pickle.dumps({"embeddings": 1, "face_num": 2, "model": "net"}, 2)},
            "'embeddings' is not float32",
        ),
        ({"byteorder": b"big"}, "not little-endian"),
    ],
)
def test_another_kind(tmp_path: Path, entries: dict[str, bytes | None], words: str) -> None:
    good = _write(tmp_path / "embeddings.pth", _values(3, 5))
    with pytest.raises(TableError, match=rf"of another kind .there is.*{words}.*faces_to_embeddings\.py"):
        read_pth(_repacked(good, tmp_path / "bad.pth", **entries))


def test_missing_or_no_archive(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"embeddings\.pth: no embeddings here\. Run faces_to_embeddings\.py"):
        read_pth(tmp_path / "embeddings.pth")
    (tmp_path / "embeddings.pth").write_text("hello")
    with pytest.raises(TableError, match="damaged or of another kind"):
        read_pth(tmp_path / "embeddings.pth")


@given(st.data())
def test_damage_is_an_error_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("pth") / "embeddings.pth"
    content = bytearray(_write(path, _values(3, 5)).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        found = read_pth(path)
    except TableError:
        return
    assert found.embeddings.shape == (len(found.face_num), found.dimension)


# --- the real torch ---

TORCH = os.environ.get("FACESEARCH_TORCH_PYTHON") or (sys.executable if importlib.util.find_spec("torch") else None)
needs_torch = pytest.mark.skipif(
    TORCH is None, reason="no torch here; FACESEARCH_TORCH_PYTHON may name a Python that has it"
)


def _torch(script: str, *arguments: object) -> str:
    assert TORCH is not None
    done = subprocess.run(
        [TORCH, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_torch
def test_torch_reads_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, paths = [], []
    for count, dimension in SHAPES:
        values = _values(count, dimension)
        paths.append(_write(tmp_path / f"{count}.pth", values, "model Ü"))
        expected.append([[count, dimension], float(values.astype(np.float64).sum()), list(range(count)), "model Ü"])
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    paths.append(_write(tmp_path / "zip64.pth", _values(3, 128), "model Ü"))
    expected.append(expected[2])
    monkeypatch.undo()
    script = """
import json, sys, torch
found = []
for path in sys.argv[1:]:
    for mmap in (False, True):
        content = torch.load(path, weights_only=True, mmap=mmap)
        assert list(content) == ["embeddings", "face_num", "model"]
        embeddings, face_num = content["embeddings"], content["face_num"]
        assert embeddings.dtype == torch.float32 and face_num.dtype == torch.int64 and not embeddings.requires_grad
        assert embeddings.data_ptr() % 64 == 0 or not mmap
    found.append([list(embeddings.shape), float(embeddings.double().sum()), face_num.tolist(), content["model"]])
print(json.dumps(found))
"""
    found = json.loads(_torch(script, *paths))
    for one, other in zip(found, expected, strict=True):
        assert one[0] == other[0] and one[2:] == other[2:]
        assert one[1] == pytest.approx(other[1], abs=1e-6)


@needs_torch
def test_we_read_what_torch_writes(tmp_path: Path) -> None:
    script = """
import sys, torch
directory = sys.argv[1]
values = torch.arange(40, dtype=torch.float32).reshape(8, 5)
number = torch.arange(8)
torch.save({"embeddings": values, "face_num": number, "model": "net"}, directory + "/good.pth")
torch.save({"embeddings": values[2:6], "face_num": number[2:6], "model": "net"}, directory + "/part.pth")
torch.save({"embeddings": values.T, "face_num": number[:5], "model": "net"}, directory + "/strides.pth")
torch.save({"embeddings": values.half(), "face_num": number, "model": "net"}, directory + "/half.pth")
torch.save({"embeddings": values, "face_num": number[:3], "model": "net"}, directory + "/short.pth")
torch.save({"embeddings": torch.nn.Parameter(values), "face_num": number, "model": "net"}, directory + "/parameter.pth")
torch.save(values, directory + "/tensor.pth")
torch.save({"embeddings": values, "face_num": number, "model": "net"}, directory + "/old.pth",
           _use_new_zipfile_serialization=False)
"""
    _torch(script, tmp_path)
    values = np.arange(40, dtype=np.float32).reshape(8, 5)
    np.testing.assert_array_equal(read_pth(tmp_path / "good.pth").embeddings, values)
    part = read_pth(tmp_path / "part.pth")
    np.testing.assert_array_equal(part.embeddings, values[2:6])
    np.testing.assert_array_equal(part.face_num, [2, 3, 4, 5])
    for name in ("strides", "half", "short", "parameter", "tensor", "old"):
        with pytest.raises(TableError, match="damaged or of another kind"):
            read_pth(tmp_path / f"{name}.pth")
