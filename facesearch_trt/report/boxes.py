"""The faces of a clip by time, for boxes over its video, and its pictures that were kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..store.schema import FACES_IDENTIFIED, FRAMES
from ..store.tables import read_rows
from ..types import Array

__all__ = ["BoxCache", "ClipBoxes", "read_boxes"]

_CLIPS = 4
"""Clips that are held; ten hours with two faces in each frame take about 60 MB."""


@dataclass(frozen=True, slots=True)
class ClipBoxes:
    """A clip's frames and faces as arrays."""

    frame_num: Array
    """int64 [F]."""
    pts_s: Array
    """float64 [F]."""
    kept: Array
    """bool [F]: whether the frame's picture was kept."""
    width: int
    height: int
    """Of the first frame, px."""
    face_frame: Array
    """int64 [N], rising: row of the face's frame."""
    boxes: Array
    """float32 [N, 4], x1 y1 x2 y2, px."""
    face_ids: Array
    """int32 [N]."""

    def between(self, from_s: float, to_s: float) -> tuple[int, int]:
        """Return the range of frames whose time is in a span."""
        return int(np.searchsorted(self.pts_s, from_s, "left")), int(np.searchsorted(self.pts_s, to_s, "right"))

    def faces_of(self, first: int, last: int) -> slice:
        """Return the faces of a range of frames."""
        return slice(
            int(np.searchsorted(self.face_frame, first, "left")), int(np.searchsorted(self.face_frame, last, "left"))
        )

    def still(self, time_s: float) -> int | None:
        """Return the row of the kept picture nearest to a time; None where none was kept."""
        rows = np.flatnonzero(self.kept)
        return int(rows[np.abs(self.pts_s[rows] - time_s).argmin()]) if len(rows) else None


def read_boxes(directory: Path) -> ClipBoxes:
    """Read a clip whose steps are complete. Raises TableError, StoreError."""
    frames = [
        (number, pts_s, bool(file), width, height)
        for number, pts_s, width, height, file in read_rows(directory / FRAMES.file, FRAMES)
    ]
    frame_num = np.array([frame[0] for frame in frames], np.int64)
    names = FACES_IDENTIFIED.names
    columns = [names.index(name) for name in ("frame_num", "x1", "y1", "x2", "y2", "face_id")]
    found = np.array(
        [[row[column] for column in columns] for row in read_rows(directory / FACES_IDENTIFIED.file, FACES_IDENTIFIED)],
        np.float64,
    ).reshape(-1, len(columns))
    return ClipBoxes(
        frame_num,
        np.array([frame[1] for frame in frames], np.float64),
        np.array([frame[2] for frame in frames], bool),
        frames[0][3] if frames else 0,
        frames[0][4] if frames else 0,
        np.searchsorted(frame_num, found[:, 0]),
        found[:, 1:5].astype(np.float32),
        found[:, 5].astype(np.int32),
    )


class BoxCache:
    """Holds the faces of the clips that were looked at last. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Path, int], ClipBoxes] = OrderedDict()

    def of(self, directory: Path) -> ClipBoxes:
        """Return a clip's faces as they are now. Raises TableError, StoreError."""
        # One clip is read at a time: two readers of ten hours would need twice the memory.
        with self._lock:
            path = directory / FACES_IDENTIFIED.file
            key = (directory, path.stat().st_mtime_ns if path.is_file() else 0)
            if key not in self._held:
                self._held[key] = read_boxes(directory)
            self._held.move_to_end(key)
            while len(self._held) > _CLIPS:
                self._held.popitem(last=False)
            return self._held[key]
