"""The files of a ROOT that say who is who over all clips: ``people.csv``, ``names.csv``, and the program's own
memory ``.people.npz``. Each is written to a temporary file and renamed."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import TableError
from ..store.files import storing, write_durably
from ..store.lock import hold
from ..store.npz import opened_npz
from ..types import Array
from .clips import ClipPeople

__all__ = [
    "NAMES_FILE",
    "PEOPLE_FILE",
    "STATE_FILE",
    "NamedPerson",
    "State",
    "drop_rows",
    "locked",
    "read_names",
    "read_people_table",
    "read_rows_of",
    "read_state",
    "table_bytes",
    "write_state",
    "write_whole",
]

PEOPLE_FILE, NAMES_FILE, STATE_FILE = "people.csv", "names.csv", ".people.npz"
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
_LOCK = ".people.lock"
_FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamedPerson:
    """One row of ``names.csv``."""

    person_id: int
    name: str
    similarity: float | None
    """Cosine to the gallery's person; None for a name that a user gave."""
    source: str
    """``decision`` or ``gallery``."""


@dataclass(slots=True)
class State:
    """What the program remembers of the last grouping."""

    stamp: str
    """Of everything that decided the result; the same stamp means that nothing changed."""
    model: str
    similarities: tuple[float, float]
    next_id: int
    clips: list[ClipPeople]
    person_ids: Array
    """int64 [N], of the rows of all clips, in their order."""
    gone: Mapping[int, Array]
    """People of whom no clip is left, with their mean."""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold a ROOT's files of people: one process changes them at a time, the others wait. The system frees it in any case.

    Nobody is kept from a ROOT that this process cannot write: it changes nothing there. Raises StoreError where the lock cannot be
    had.
    """
    if root.is_dir() and not os.access(root, os.W_OK):
        yield
        return
    with storing(root):
        lock = hold(root / _LOCK, wait=lambda: _log.info("%s: another process is at work on its people; waiting", root))
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that its name always stands for a whole one. Raises StoreError.

    What several processes may write has to be :func:`locked`: the temporary file's name is always the same, so that none is left over.
    """
    temporary = path.with_name(f".{path.name.lstrip('.')}.partial")
    with storing(path.parent):
        try:
            write_durably(temporary, data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def table_bytes(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    """Return a CSV table."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode(**_ENCODING)


def drop_rows(path: Path, ids: tuple[str, ...], unwanted: Callable[[dict[str, str]], bool]) -> int:
    """Write a table, whose columns ``ids`` are whole numbers, without some rows; return how many. Raises TableError, StoreError."""
    rows = list(read_rows_of(path, ids, ids))
    left = [row for row in rows if not unwanted(row)]
    if len(left) < len(rows):
        columns = list(rows[0])
        write_whole(path, table_bytes(columns, ([row[column] for column in columns] for row in left)))
    return len(rows) - len(left)


def read_people_table(root: Path) -> dict[tuple[str, int], int]:
    """Return ``people.csv`` as (clip, face_id) → person_id; empty where there is none. Raises TableError."""
    return {
        (row["clip"], int(row["face_id"])): int(row["person_id"])
        for row in read_rows_of(root / PEOPLE_FILE, ("clip", "face_id", "person_id"), ("face_id", "person_id"))
    }


def read_names(root: Path) -> list[NamedPerson]:
    """Return ``names.csv``; empty where there is none. Raises TableError."""
    return [
        NamedPerson(int(row["person_id"]), row["name"], _cosine(root / NAMES_FILE, row["similarity"]), row["source"])
        for row in read_rows_of(root / NAMES_FILE, ("person_id", "name", "similarity", "source"), ("person_id",))
    ]


def _cosine(path: Path, cell: str | None) -> float | None:
    try:
        value = float(cell) if cell else None
    except ValueError:
        value = math.nan
    if value is None or -1.01 <= value <= 1.01:
        return value
    raise TableError(
        "column 'similarity' holds no cosine",
        where=path,
        found=repr(cell),
        remedy="Remove the file and run `facesearch people` on its directory.",
    )


def read_rows_of(path: Path, columns: tuple[str, ...], whole: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Yield a table's rows; none where there is no file. Raises TableError where one of ``columns`` is missing, or one of ``whole``
    holds no whole number."""
    try:
        text = path.read_bytes().decode(**_ENCODING)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TableError("cannot read the table", where=path, found=error.strerror) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    remedy = "Remove the file and run `facesearch people` on its directory."
    if missing:
        found = ", ".join(reader.fieldnames or ()) or "none"
        raise TableError("columns are missing", where=path, asked=", ".join(missing), found=found, remedy=remedy)
    for number, row in enumerate(reader, start=2):
        if any(row[name] is None or not row[name].isdecimal() for name in whole):
            raise TableError("not an id", where=f"{path} line {number}", found=dict(row), remedy=remedy)
        yield row


def write_state(root: Path, state: State) -> None:
    """Write ``.people.npz``. Raises StoreError."""
    path = root / STATE_FILE
    temporary = path.with_name(f"{STATE_FILE}.partial")
    with storing(root):
        try:
            # Straight to the disk: with a million people it holds gigabytes.
            with temporary.open("wb") as file:
                _save(file, state)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _save(file: BinaryIO, state: State) -> None:
    clips = state.clips
    dimension = max((clip.vectors.shape[1] for clip in clips), default=1)
    starts = np.cumsum([0, *(len(clip.face_ids) for clip in clips)])
    vectors = [clip.vectors for clip in clips if len(clip.face_ids)]
    # Names as bytes: they need not be valid text.
    np.savez(
        file,
        format=np.int64(_FORMAT),
        stamp=np.array(state.stamp),
        model=np.array(state.model),
        similarities=np.array(state.similarities, np.float64),
        next_id=np.int64(state.next_id),
        clips=np.frombuffer("\0".join(clip.clip for clip in clips).encode(**_ENCODING), np.uint8),
        fingerprints=np.array([clip.fingerprint for clip in clips], "U32"),
        models=np.array([clip.model for clip in clips], "U64"),
        starts=starts,
        pair_starts=np.cumsum([0, *(len(clip.conflicts) for clip in clips)]),
        face_ids=_joined([clip.face_ids for clip in clips], np.zeros(0, np.int64)),
        vectors=_joined(vectors, np.zeros((0, dimension), np.float32)),
        weights=_joined([clip.weights for clip in clips], np.zeros(0)),
        trusted=_joined([clip.trusted for clip in clips], np.zeros(0, bool)),
        conflicts=_joined([clip.conflicts for clip in clips], np.zeros((0, 2), np.int64)),
        person_ids=state.person_ids,
        gone_ids=np.array(sorted(state.gone), np.int64),
        gone=_joined([state.gone[person][None] for person in sorted(state.gone)], np.zeros((0, dimension), np.float32)),
    )


def _joined(parts: list[Array], nothing: Array) -> Array:
    return np.concatenate(parts) if parts else nothing


def read_state(root: Path, *, stamp: str | None = None, head: bool = False) -> State | None:
    """Return what is remembered of the last grouping; None, with a logged warning where there is a damaged file, if
    nothing.

    With ``stamp``, the rest is read only where the stamp is another one; else, and with ``head``, its clips and arrays
    are empty.
    """
    path = root / STATE_FILE
    try:
        with opened_npz(path) as content:
            return _state(content, stamp, head)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s: cannot be used, so all clips are read again (%s)", path, error)
        return None


def _state(content: Any, stamp: str | None, head_only: bool) -> State:
    if int(content["format"]) != _FORMAT:
        raise ValueError(f"format {int(content['format'])}")
    similarities = content["similarities"]
    head: dict[str, Any] = {
        "stamp": str(content["stamp"]),
        "model": str(content["model"]),
        "similarities": (float(similarities[0]), float(similarities[1])),
        "next_id": int(content["next_id"]),
    }
    if head_only or head["stamp"] == stamp:
        return State(**head, clips=[], person_ids=np.zeros(0, np.int64), gone={})
    raw = content["clips"].tobytes()
    names = raw.decode(**_ENCODING).split("\0") if len(content["fingerprints"]) else []
    columns = {key: content[key] for key in ("face_ids", "vectors", "weights", "trusted", "conflicts")}
    starts, pair_starts = content["starts"], content["pair_starts"]
    clips = []
    for number, (name, fingerprint, model) in enumerate(
        zip(names, content["fingerprints"], content["models"], strict=True)
    ):
        rows = slice(int(starts[number]), int(starts[number + 1]))
        pairs = slice(int(pair_starts[number]), int(pair_starts[number + 1]))
        parts = {key: columns[key][rows] for key in ("face_ids", "vectors", "weights", "trusted")}
        conflicts = columns["conflicts"][pairs]
        clips.append(ClipPeople(name, str(fingerprint), str(model), conflicts=conflicts, **parts))
    gone = dict(zip(content["gone_ids"].tolist(), content["gone"], strict=True))
    return State(**head, clips=clips, person_ids=content["person_ids"], gone=gone)
