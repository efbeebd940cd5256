"""``embeddings.pth``: PyTorch's zip format, written and read without PyTorch.

The file is a zip archive of stored entries, each starting at a multiple of 64 bytes: ``data.pkl`` (a protocol-2 pickle
of the dict, in which a tensor is a call of ``torch._utils._rebuild_tensor_v2`` on a storage known by a persistent id),
``data/<key>`` (a storage's raw little-endian numbers), ``version``, ``byteorder``. Source: ``torch/serialization.py``
and ``caffe2/serialize/inline_container.cc`` of PyTorch; ``torch.load(path, weights_only=True)`` reads it.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import TableError
from ..types import Array
from .schema import redo

__all__ = ["Embeddings", "read_pth", "write_pth"]

_ALIGNMENT = 64
_CHUNK_BYTES = 1 << 22
_CHUNK_ROWS = 4096
_LOCAL_HEADER = struct.Struct("<26xHH")
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The content of an ``embeddings.pth``."""

    path: Path
    offset: int
    """Byte of the file at which the first row starts; rows are little-endian float32, without gaps."""
    dimension: int
    """D, values a face."""
    face_num: Array
    """int64 [N], the row of ``faces.csv`` that each embedding belongs to."""
    model: str
    """Name of the embedder."""

    def __len__(self) -> int:
        return len(self.face_num)

    @property
    def embeddings(self) -> Array:
        """float32 [N, D], mapped from the file: a row is read, and counts as the process's memory, when it is used."""
        shape = (len(self), self.dimension)
        # An empty map is an error of the system.
        return np.memmap(self.path, "<f4", "r", self.offset, shape) if all(shape) else np.zeros(shape, np.float32)

    def in_turn(self) -> Iterator[Array]:
        """Yield the rows, float32 [D] each, with memory that does not grow."""
        size = self.dimension * 4
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, len(self), _CHUNK_ROWS):
                count = min(_CHUNK_ROWS, len(self) - start)
                yield from np.frombuffer(file.read(count * size), "<f4").reshape(count, self.dimension)


def write_pth(path: Path, rows: Path, count: int, dimension: int, model: str) -> None:
    """Write ``count`` embeddings; memory stays flat.

    Parameters
    ----------
    path: the file to write; what is there is overwritten.
    rows: file of raw little-endian float32 [count, dimension].
    count, dimension: number of faces and of values a face.
    model: name of the embedder.

    Raises OSError where the disk refuses, ValueError where ``rows`` has another size.
    """
    size = count * dimension * 4
    if rows.stat().st_size != size:
        raise ValueError(f"{rows} has {rows.stat().st_size} bytes, not {size}")
    step = _CHUNK_BYTES // 8
    numbers = (np.arange(start, min(start + step, count), dtype="<i8").tobytes() for start in range(0, count, step))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive, rows.open("rb") as source:
        stem = path.stem
        for name, content in (
            ("data.pkl", _pickle(count, dimension, model)),
            (".format_version", b"1"),
            (".storage_alignment", b"64"),
            ("byteorder", b"little"),
        ):
            _add(archive, f"{stem}/{name}", len(content), [content])
        _add(archive, f"{stem}/data/0", size, iter(lambda: source.read(_CHUNK_BYTES), b""))
        _add(archive, f"{stem}/data/1", count * 8, numbers)
        _add(archive, f"{stem}/version", 2, [b"3\n"])


def _add(archive: zipfile.ZipFile, name: str, size: int, content: Iterable[bytes]) -> None:
    """Append a stored entry whose content starts at a multiple of 64 bytes."""
    info = zipfile.ZipInfo(name)
    info.file_size = size
    # The same test as in ZipFile.open: it then puts 20 bytes of zip64 sizes after our padding.
    zip64 = size * 1.05 > zipfile.ZIP64_LIMIT
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(name.encode()) + 4 + (20 if zip64 else 0)
    padding = -start % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=zip64) as entry:
        for part in content:
            entry.write(part)


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    return b"X" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    """Return a non-negative integer's opcode; above 31 bits the long form."""
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes((value.bit_length() >> 3) + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _pickle(count: int, dimension: int, model: str) -> bytes:
    """Return the protocol-2 pickle of the dict.

    Written opcode by opcode, since ``pickle`` would import torch to name its functions. ``(`` opens a tuple that ``t``
    closes; ``c`` names a global; ``Q`` resolves a storage's persistent id; ``R`` calls; ``u`` sets the dict's items.
    """

    def tensor(storage: str, key: str, shape: tuple[int, ...]) -> bytes:
        strides = (shape[1], 1) if len(shape) == 2 else (1,)
        persistent = b"(" + _text("storage") + f"ctorch\n{storage}\n".encode() + _text(key) + _text("cpu")
        persistent += _integer(int(np.prod(shape, dtype=np.int64))) + b"tQ"
        sizes = b"".join(b"(" + b"".join(map(_integer, values)) + b"t" for values in (shape, strides))
        no_gradient, no_hooks = b"\x89", b"ccollections\nOrderedDict\n)R"
        return (
            b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + _integer(0) + sizes + no_gradient + no_hooks + b"tR"
        )

    items = (
        _text("embeddings") + tensor("FloatStorage", "0", (count, dimension)),
        _text("face_num") + tensor("LongStorage", "1", (count,)),
        _text("model") + _text(model),
    )
    return b"\x80\x02}(" + b"".join(items) + b"u."


def read_pth(path: Path) -> Embeddings:
    """Return an embeddings file's content; also of one that ``torch.save`` wrote, if it holds the same dict.

    The pickle is read by an unpickler that knows nothing but the two tensors. Raises TableError where the file is
    missing, damaged, or holds anything else.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return _read(path, file, archive)
    except TableError:
        raise
    except FileNotFoundError:
        raise TableError("no embeddings here", where=path, remedy=redo("embeddings")) from None
    except OSError as error:
        raise TableError(
            "cannot read the embeddings", where=path, found=error.strerror, remedy=redo("embeddings")
        ) from error
    # An unpickler fed with damaged bytes can raise nearly anything.
    except Exception as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def _damaged(path: Path, found: str) -> TableError:
    return TableError(
        "the embeddings file is damaged or of another kind", where=path, found=found, remedy=redo("embeddings")
    )


def _read(path: Path, file: IO[bytes], archive: zipfile.ZipFile) -> Embeddings:
    names = archive.namelist()
    pickled = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickled) != 1:
        raise _damaged(path, "no data.pkl")
    stem = pickled[0].removesuffix("data.pkl")
    if f"{stem}byteorder" in names and archive.read(f"{stem}byteorder") != b"little":
        raise _damaged(path, "numbers that are not little-endian")
    content = _Unpickler(io.BytesIO(archive.read(pickled[0]))).load()
    if not isinstance(content, dict) or set(content) != {"embeddings", "face_num", "model"}:
        raise _damaged(
            path, f"keys {sorted(map(str, content))}" if isinstance(content, dict) else type(content).__name__
        )
    model = content["model"]
    places = []
    for key, dtype, dimensions in (("embeddings", np.dtype("<f4"), 2), ("face_num", np.dtype("<i8"), 1)):
        tensor = content[key]
        if not isinstance(tensor, _Tensor) or tensor.storage.dtype != dtype or len(tensor.shape) != dimensions:
            raise _damaged(path, f"{key!r} is not {dtype.name} with {dimensions} dimensions")
        places.append(_place(path, file, archive.getinfo(f"{stem}data/{tensor.storage.key}"), tensor))
    count, dimension = content["embeddings"].shape
    if not isinstance(model, str) or content["face_num"].shape != (count,):
        raise _damaged(path, f"{count} embeddings, {content['face_num'].shape[0]} face_num, model {model!r}")
    file.seek(places[1])
    face_num = np.frombuffer(file.read(count * 8), "<i8")
    return Embeddings(path, places[0], dimension, face_num, model)


def _place(path: Path, file: IO[bytes], entry: zipfile.ZipInfo, tensor: _Tensor) -> int:
    """Return the byte of the file at which a tensor starts."""
    dtype, shape = tensor.storage.dtype, tensor.shape
    count = int(np.prod(shape, dtype=object)) if shape else 1
    contiguous = tuple(int(np.prod(shape[i + 1 :], dtype=object)) for i in range(len(shape)))
    if count and tensor.strides != contiguous:
        raise _damaged(path, f"strides {tensor.strides} of shape {shape}")
    if entry.compress_type != zipfile.ZIP_STORED or (tensor.offset + count) * dtype.itemsize > entry.file_size:
        raise _damaged(path, f"{entry.filename} does not hold a tensor of shape {shape}")
    file.seek(entry.header_offset)
    start: int = entry.header_offset + 30 + sum(_LOCAL_HEADER.unpack(file.read(30)))
    start += tensor.offset * dtype.itemsize
    if start + count * dtype.itemsize > path.stat().st_size:
        raise _damaged(path, f"{entry.filename} ends early")
    return start


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuilt(storage: object, offset: object, shape: object, strides: object, *gradient_and_hooks: object) -> _Tensor:
    del gradient_and_hooks
    numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if not isinstance(storage, _Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise pickle.UnpicklingError("not a tensor")
    return _Tensor(storage, offset, shape, strides)  # type: ignore[arg-type]


class _Unpickler(pickle.Unpickler):
    """Knows what the pickle of two tensors needs, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, _ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("a persistent id that is no storage")
        return _Storage(key, dtype)
