"""Names, columns and number formats of everything in a clip's ``.pipeline`` directory.

A cell is written with as many decimals as the value was rounded to, so that reading it back gives exactly the float32
(``pts_s``: float64) that was written; :func:`rounded` does that rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import TableError
from ..types import QUALITY_COLUMNS, Array

__all__ = [
    "CHIPS_DIRECTORY",
    "CHIP_PATTERN",
    "COMMANDS",
    "EMBEDDINGS_FILE",
    "ENORM",
    "FACES",
    "FACES_EMBEDDED",
    "FACES_IDENTIFIED",
    "FRAMES",
    "FRAMES_COPY",
    "FRAME_PATTERN",
    "IDENTITY",
    "QUALITY",
    "RECORD_FILE",
    "SHOTS",
    "STEPS",
    "STEP_FILES",
    "Cell",
    "Column",
    "StepName",
    "Table",
    "chip_file",
    "frame_file",
    "in_a_row",
    "redo",
    "rounded",
]

Cell = int | float | str
StepName = Literal["frames", "faces", "embeddings", "identity"]

STEPS: tuple[StepName, ...] = ("frames", "faces", "embeddings", "identity")
"""The steps in their order; each reads what those before it wrote."""

COMMANDS: dict[StepName, str] = {
    "frames": "video_to_frames.py",
    "faces": "frames_to_faces.py",
    "embeddings": "faces_to_embeddings.py",
    "identity": "face_to_faceid.py",
}
"""The program that does one step alone."""

RECORD_FILE = "run.json"
FRAMES_COPY = "frame_tbl.csv"
EMBEDDINGS_FILE = "embeddings.pth"
CHIPS_DIRECTORY = "faces"
FRAME_PATTERN = re.compile(r"frame_\d{4,}\.png")
CHIP_PATTERN = re.compile(r"frame_\d{4,}_face_\d{2,}\.png")


def in_a_row(steps: Iterable[str]) -> tuple[StepName, ...]:
    """Return steps in their order. Raises ValueError where they are not one step or several that follow one another."""
    asked = list(steps)
    found = tuple(step for step in STEPS if step in asked)
    first = STEPS.index(found[0]) if found else 0
    if not found or len(found) != len(asked) or found != STEPS[first : first + len(found)]:
        raise ValueError(f"not one step or several in a row: {asked}")
    return found


def frame_file(frame_num: int) -> str:
    """Return a frame's file name inside the clip's directory: four digits, more when needed."""
    return f"frame_{frame_num:04d}.png"


def chip_file(frame_num: int, index: int) -> str:
    """Return the path, inside the clip's directory, of the chip of a frame's ``index``-th face."""
    return f"{CHIPS_DIRECTORY}/frame_{frame_num:04d}_face_{index:02d}.png"


def redo(step: StepName) -> str:
    """Return the remedy that makes a step's results again."""
    return f"Run {COMMANDS[step]} (or run_pipeline.py) with --force on this clip."


def rounded(values: Array, decimals: int | Array) -> Array:
    """Return ``values`` as the float32 that reading their cells back gives; never a negative zero.

    ``decimals`` is one number or one for each column.
    """
    scale = np.power(10.0, decimals)
    result: Array = (np.rint(np.asarray(values, np.float64) * scale) / scale + 0.0).astype(np.float32)
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    dtype: Literal["int64", "float32", "float64", "str"]
    """What its cells become when read."""
    decimals: int = 0
    """Digits after the point of a float."""

    @property
    def format(self) -> str:
        """The printf format of a cell."""
        return {"int64": "%d", "str": "%s"}.get(self.dtype, f"%.{self.decimals}f")

    @property
    def parse(self) -> Callable[[str], Cell]:
        """Turns a cell's text into its value; raises ValueError for text that is none (NaN and infinity are none)."""
        return {"int64": int, "str": str}.get(self.dtype, _finite)


@dataclass(frozen=True)
class Table:
    """One CSV file, or the part of it that one step knows."""

    file: str
    step: StepName
    """The step that writes it."""
    columns: tuple[Column, ...]
    base: Table | None = None
    """The table, by an earlier step, that this one adds columns to."""

    def step_of(self, name: str) -> StepName:
        """Return the step that writes a column."""
        return self.base.step_of(name) if self.base is not None and name in self.base.names else self.step

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The column names in their order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def _row_format(self) -> str:
        return ",".join(column.format for column in self.columns) + "\n"

    @cached_property
    def _parsers(self) -> tuple[Callable[[str], Cell], ...]:
        return tuple(column.parse for column in self.columns)

    @property
    def header(self) -> str:
        """The first line of the file."""
        return ",".join(self.names) + "\n"

    def line(self, cells: tuple[Any, ...]) -> str:
        """Return the text line of a row."""
        return self._row_format % cells

    def parsed(self, cells: list[str], path: Path, line: int) -> list[Any]:
        """Return the values of a row's cells, in the order of ``columns``.

        Raises TableError that names the file, the line and the column of a cell that is not of its column's type or not
        finite.
        """
        try:
            return [parse(cell) for parse, cell in zip(self._parsers, cells, strict=True)]
        except ValueError:
            for column, cell in zip(self.columns, cells, strict=True):
                try:
                    column.parse(cell)
                except ValueError:
                    raise TableError(
                        f"line {line}: bad value in column {column.name!r}",
                        where=path,
                        asked=column.dtype,
                        found=repr(cell),
                        remedy=redo(self.step_of(column.name)),
                    ) from None
            raise


def _pixels(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "float32", 2) for name in names)


_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")

FRAMES = Table(
    "frames.csv",
    "frames",
    (
        Column("frame_num", "int64"),
        Column("pts_s", "float64", 6),
        Column("width", "int64"),
        Column("height", "int64"),
        Column("file", "str"),
    ),
)
"""One row a frame, in order of ``frame_num``; ``file`` is empty where the picture was not kept."""

SHOTS = Table(
    "shots.csv",
    "frames",
    (
        Column("shot", "int64"),
        Column("first_frame_num", "int64"),
        Column("last_frame_num", "int64"),
        Column("start_s", "float64", 6),
        Column("end_s", "float64", 6),
    ),
)
"""One row a shot: its first and last frame among those of ``frames.csv``, and the ``pts_s`` of these two."""

FACES = Table(
    "faces.csv",
    "faces",
    (
        Column("face_num", "int64"),
        Column("frame_num", "int64"),
        *_pixels("x1", "y1", "x2", "y2"),
        Column("score", "float32", 4),
        *_pixels(*(f"{point}_{axis}" for point in _POINTS for axis in "xy")),
        Column("file", "str"),
    ),
)
"""One row a face: ``face_num`` counts from 0;

ordered by ``frame_num``; ``file`` is the chip, empty where none was written.
"""

ENORM = Column("enorm", "float32", 6)
"""L2 norm of the face's embedding as the network gave it."""

FACES_EMBEDDED = Table("faces.csv", "embeddings", (*FACES.columns, ENORM), FACES)
"""``faces.csv`` after the embedding step."""

IDENTITY = Table(
    "faces.csv",
    "identity",
    (Column("face_num", "int64"), Column("track_id", "int64"), Column("face_id", "int64")),
    FACES,
)
"""What the identity step adds to ``faces.csv``, with the key."""

FACES_IDENTIFIED = Table("faces.csv", "identity", (*FACES_EMBEDDED.columns, *IDENTITY.columns[1:]), FACES_EMBEDDED)
"""``faces.csv`` after the identity step."""

QUALITY = Table(
    "quality.csv",
    "faces",
    (
        Column("face_num", "int64"),
        *(Column(name, "float32", 2 if name == "size_px" else 4) for name in QUALITY_COLUMNS),
    ),
)
"""How well each face of ``faces.csv`` can be recognised; row i of both is the same face."""

STEP_FILES: dict[StepName, tuple[str, ...]] = {
    "frames": (FRAMES.file, FRAMES_COPY, SHOTS.file),
    "faces": (FACES.file, QUALITY.file),
    "embeddings": (EMBEDDINGS_FILE,),
    "identity": (),
}
"""The files, pictures apart, that a step makes. ``faces.csv`` is rewritten in place by the steps after its own."""
