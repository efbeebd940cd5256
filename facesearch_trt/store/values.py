"""What of a frame goes into the cells of tables: rounded to what they give back, and finite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import StoreError
from ..types import Array, FaceBatch, Frame
from . import schema
from .tables import TableWriter

__all__ = ["Shots", "check_finite", "rounded_faces"]


class Shots:
    """Turns the shot numbers of frames into rows of ``shots.csv``."""

    def __init__(self, table: TableWriter) -> None:
        self.table = table
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] = (0, 0.0)
        self._shot = 0

    def add(self, frame: Frame) -> None:
        """Go on to a frame."""
        if self._first is None or frame.shot != self._shot:
            if self._first is not None and frame.shot < self._shot:
                raise ValueError(f"frame {frame.frame_num} is of shot {frame.shot}, after shot {self._shot}")
            self.finish()
            self._first, self._shot = (frame.frame_num, frame.pts_s), frame.shot
        self._last = (frame.frame_num, frame.pts_s)

    def finish(self) -> None:
        """Write the row of the last shot."""
        if self._first is not None:
            self.table.row(self._shot, self._first[0], self._last[0], self._first[1], self._last[1])


_DECIMALS = np.array([column.decimals for column in (*schema.FACES.columns[2:-1], *schema.QUALITY.columns[1:])])


def rounded_faces(frame: Frame, directory: Path) -> tuple[FaceBatch, list[list[float]]]:
    """Return a frame's faces with the values that their cells give back, and these values, a list for each face."""
    faces, count = frame.faces, len(frame.faces)
    if not count:
        return faces, []
    if faces.quality is None:
        raise ValueError(f"the faces of frame {frame.frame_num} have no quality")
    parts = (faces.boxes, faces.scores[:, None], faces.landmarks.reshape(count, 10), faces.quality)
    values = schema.rounded(np.concatenate(parts, axis=1), _DECIMALS)
    check_finite(values, "the detector", frame, directory)
    landmarks = values[:, 5:15].reshape(count, 5, 2)
    batch = replace(faces, boxes=values[:, :4], scores=values[:, 4], landmarks=landmarks, quality=values[:, 15:])
    cells: list[list[float]] = values.tolist()
    return batch, cells


def check_finite(values: Array, source: str, frame: Frame, directory: Path) -> None:
    """Raise StoreError where a value of a frame is not finite; ``source`` is what gave it."""
    if not np.isfinite(values).all():
        raise StoreError(
            f"frame {frame.frame_num}: {source} gave a value that is not finite",
            where=directory,
            remedy="Check the model and its engine with `facesearch doctor`, or use another backend.",
        )
