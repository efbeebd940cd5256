"""Reads tables of who is where: our faces.csv, truth tables, MOTChallenge text."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import TableError
from ..types import Array

__all__ = ["NOT_A_FACE", "Sightings", "read_mot", "read_sightings", "read_truth"]

NOT_A_FACE = "not_a_face"
"""The person of a truth row that marks a place where no face may be reported."""

_BOX = ("x1", "y1", "x2", "y2")
_NOBODY = {"", "-1", "nan", "None"}


@dataclass(slots=True)
class Sightings:
    """Who is where, frame by frame."""

    boxes: dict[int, Array] = field(default_factory=dict)
    """Frame number to float64 [N, 4], x1 y1 x2 y2, px."""
    names: dict[int, list[str]] = field(default_factory=dict)
    """Frame number to the N names in the same order; empty where there is none."""

    def __len__(self) -> int:
        return sum(map(len, self.names.values()))


def read_truth(path: Path) -> Sightings:
    """Return a truth: a CSV table with the columns frame_num, x1, y1, x2, y2, person, or MOTChallenge text, told by its
    first line.

    Raises TableError; see :func:`read_sightings` and :func:`read_mot`.
    """
    first = _lines(path)[:1]
    if first and any(character.isalpha() for character in first[0]):
        return read_sightings(path, "person")
    return read_mot(path)


def read_sightings(path: Path, column: str) -> Sightings:
    """Return the boxes of a CSV table with the columns frame_num, x1, y1, x2, y2 and ``column``, which names the
    person.

    Raises TableError where the file cannot be read, a column is missing or a value is no number.
    """
    lines = _lines(path)
    reader = csv.DictReader(lines)
    missing = [name for name in ("frame_num", *_BOX, column) if name not in (reader.fieldnames or [])]
    if missing:
        raise TableError(
            "columns are missing",
            where=path,
            asked=", ".join(missing),
            found=", ".join(reader.fieldnames or []) or "none",
            remedy="A truth takes frame_num, x1, y1, x2, y2, person; a clip's own table is made again by"
            " run_pipeline.py --force.",
        )
    return _sightings(_csv_rows(path, reader, column))


def read_mot(path: Path) -> Sightings:
    """Return the boxes of a MOTChallenge text: ``frame, id, left, top, width, height, conf, ...``, frames counted from
    1.

    Rows with a ``conf`` of 0 are marked as not to be considered there, and are left out.

    Raises TableError where the file cannot be read, is empty or a line is none of that form.
    """
    lines = [line for line in _lines(path) if line.strip()]
    if not lines:
        raise TableError(
            "the table is empty", where=path, asked="frame_num, x1, y1, x2, y2, person or MOTChallenge text"
        )
    return _sightings(_mot_rows(path, lines))


def _csv_rows(path: Path, reader: csv.DictReader[str], column: str) -> Iterator[tuple[int, list[float], str]]:
    for number, row in enumerate(reader, start=2):
        try:
            yield int(float(row["frame_num"])), [float(row[name]) for name in _BOX], str(row[column])
        except (TypeError, ValueError) as error:
            raise TableError("a value is no number", where=f"{path} line {number}", found=error) from error


def _mot_rows(path: Path, lines: list[str]) -> Iterator[tuple[int, list[float], str]]:
    for number, line in enumerate(lines, start=1):
        try:
            values = [float(value) for value in line.split(",")]
            frame, person, left, top, width, height = values[:6]
        except ValueError as error:
            asked = "frame, id, left, top, width, height, conf"
            raise TableError(
                "no line of MOTChallenge text", where=f"{path} line {number}", asked=asked, found=line
            ) from error
        if len(values) == 6 or values[6] != 0:
            yield int(frame) - 1, [left, top, left + width, top + height], f"{person:g}"


def _sightings(rows: Iterator[tuple[int, list[float], str]]) -> Sightings:
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    names: dict[int, list[str]] = defaultdict(list)
    for frame, box, name in rows:
        boxes[frame].append(box)
        names[frame].append("" if name in _NOBODY else name)
    return Sightings({frame: np.array(some, np.float64) for frame, some in boxes.items()}, dict(names))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise TableError("no such table", where=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TableError("cannot read the table", where=path, found=error) from error
