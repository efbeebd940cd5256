"""What is kept of a track: enough to tell whose it is, little enough for ten hours of video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Array, FaceBatch, Frame
from .scale import unit

__all__ = ["TrackDescription", "face_trust", "face_weights"]

_LEAST_SIZE_PX = 40.0
"""Below this side an embedding is not worth trusting (measured: dlib's false rejects grow from 0.7 % at 80 px to 39 %
at 32 px)."""
_LEAST_SHARPNESS = 0.2
_LEAST_FRONTAL = 0.15


def face_weights(faces: FaceBatch) -> Array:
    """Return float32 [N]: what each face counts in its person's mean embedding, above 0."""
    if faces.quality is not None:
        return np.maximum(faces.quality[:, 3], np.float32(1e-3))
    # Without a measured quality the size alone says something.
    return np.maximum(np.clip(_size(faces) / 80.0, 0, 1).astype(np.float32), np.float32(1e-3))


def face_trust(faces: FaceBatch) -> Array:
    """Return bool [N]: large, sharp and frontal enough that the embedding may decide who it is."""
    if faces.quality is None:
        return np.asarray(_size(faces) >= _LEAST_SIZE_PX)
    size_px, sharpness, frontal = faces.quality[:, 0], faces.quality[:, 1], faces.quality[:, 2]
    return np.asarray((size_px >= _LEAST_SIZE_PX) & (sharpness >= _LEAST_SHARPNESS) & (frontal >= _LEAST_FRONTAL))


def _size(faces: FaceBatch) -> Array:
    sides = np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0)
    return np.asarray(np.sqrt(sides.prod(axis=1)))


@dataclass(slots=True)
class TrackDescription:
    """The running summary of one track."""

    number: int
    shot: int
    first_row: int
    """Row of its first face in the clip's table."""
    first_frame: int
    first_points: Array
    """float32 [7, 2]: box corners and landmarks of the first face, px."""
    last_frame: int
    last_points: Array
    motion: Array
    """float32 [2]: running mean of its shift per frame, px."""
    faces: int = 0
    trusted: int = 0
    weight: float = 0.0
    """Sum of the weights of its faces."""
    strength: float = 0.0
    """Largest norm of an embedding of its trusted faces."""
    total: Array | None = None
    """float32 [D]: weighted sum of unit embeddings."""

    @classmethod
    def start(cls, number: int, frame: Frame, face: int, row: int) -> TrackDescription:
        """Return the empty description of a track that begins with a face of ``frame``."""
        points = _points(frame, face)
        return cls(number, frame.shot, row, frame.frame_num, points, frame.frame_num, points, np.zeros(2, np.float32))

    def add(self, frame: Frame, face: int, *, embedding: Array, norm: float, weight: float, trusted: bool) -> None:
        """Add a face of ``frame``: its unit embedding [D], the norm that had, its weight and whether it may decide."""
        points = _points(frame, face)
        gap = frame.frame_num - self.last_frame
        if gap > 0:
            step = (points.mean(axis=0) - self.last_points.mean(axis=0)) / np.float32(gap)
            share = np.float32(1.0 if self.faces == 1 else 1 - 0.7**gap)
            self.motion = self.motion + share * (step - self.motion)
        self.last_frame, self.last_points = frame.frame_num, points
        self.faces += 1
        self.weight += weight
        self.trusted += trusted
        self.strength = max(self.strength, norm * trusted)
        weighted = embedding * np.float32(weight)
        self.total = weighted if self.total is None else self.total + weighted

    def absorb(self, later: TrackDescription) -> None:
        """Add the faces of a piece of the same track that comes after this one."""
        self.last_frame, self.last_points = later.last_frame, later.last_points
        if later.faces > 1:
            self.motion = later.motion
        self.faces += later.faces
        self.weight += later.weight
        self.trusted += later.trusted
        self.strength = max(self.strength, later.strength)
        self.total = later.total if self.total is None else self.total + later.total

    @property
    def mean(self) -> Array:
        """float32 [D], unit: the quality-weighted mean embedding."""
        assert self.total is not None
        return unit(self.total)


def _points(frame: Frame, face: int) -> Array:
    box = frame.faces.boxes[face].reshape(2, 2)
    return np.asarray(np.concatenate([box, frame.faces.landmarks[face]]), np.float32)
