"""A clip's stored results as its tracks: what an index, an export and a report say of each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..store.clip import ClipStore
from ..store.schema import chip_file
from ..types import Array, Frame

__all__ = ["ClipTracks", "Face", "Track", "load_tracks"]

_LOG = logging.getLogger(__name__)

_CANDIDATES = 12
"""Best faces of a track that are held while it is read; the kept ones are chosen from these."""
_LEAST_WEIGHT = 1e-3
"""Even a useless face counts a little, so that a track of useless faces has a mean."""


@dataclass(frozen=True, slots=True)
class Face:
    """One detection."""

    face_num: int
    frame_num: int
    pts_s: float
    box: Array
    """float32 [4], x1 y1 x2 y2, px of the frame."""
    quality: float
    """0 to 1."""
    chip: str
    """File of its chip inside the clip's directory; empty where it is not there."""
    vector: Array | None
    """float32 [D] of length 1; None where embeddings were not asked for."""


@dataclass(slots=True)
class Track:
    """One face followed through a shot."""

    track_id: int
    face_id: int
    start_s: float
    end_s: float = 0.0
    first_frame_num: int = 0
    last_frame_num: int = 0
    count: int = 0
    """How many faces."""
    mean: Array | None = None
    """float32 [D] of length 1: the quality-weighted mean of its unit embeddings."""
    best: list[Face] = field(default_factory=list)
    """A few of its faces: the best one first, then others that are good and differ from it."""


@dataclass(frozen=True, slots=True)
class ClipTracks:
    """All tracks of a clip, in order of time."""

    tracks: list[Track]
    frames: int
    start_s: float
    """``pts_s`` of the first frame; 0 where there is none."""
    end_s: float
    """``pts_s`` of the last frame."""


def load_tracks(store: ClipStore, *, best_faces: int, with_embeddings: bool = True) -> ClipTracks:
    """Return the tracks of a clip whose steps are complete; memory grows with its tracks, not with its frames.

    Parameters
    ----------
    best_faces: how many of a track's faces are kept.
    with_embeddings: False where vectors are not needed; ``mean`` and ``vector`` are then None.

    Faces without a track, and embeddings that are zero or not finite, are left out. Raises StoreError where a step is
    not done, TableError where a table was changed.
    """
    track_ids, face_ids = store.load_identity()
    frames = store.load_faces(with_chips=False, with_embeddings=with_embeddings)
    reader = _Reader(track_ids, face_ids)
    reader.read(frames)
    if reader.useless:
        _LOG.warning("%s: %d embeddings are zero or not finite and are left out", store.directory, reader.useless)
    tracks = [pending.finish(best_faces) for pending in reader.pending.values()]
    for track in tracks:
        # Chips may not have been kept, or were removed.
        track.best = [
            face if (store.directory / face.chip).is_file() else _without_chip(face) for face in track.best[:best_faces]
        ]
    tracks.sort(key=lambda track: (track.start_s, track.track_id))
    return ClipTracks(tracks, reader.frames, reader.start_s, reader.end_s)


class _Reader:
    def __init__(self, track_ids: Array, face_ids: Array) -> None:
        self._track_ids = track_ids
        self._face_ids = face_ids
        self.pending: dict[int, _Pending] = {}
        self.frames = 0
        self.useless = 0
        self.start_s = self.end_s = 0.0

    def read(self, frames: Iterable[Frame]) -> None:
        face_num = 0
        for frame in frames:
            if not self.frames:
                self.start_s = frame.pts_s
            self.frames, self.end_s = self.frames + 1, frame.pts_s
            for index in range(len(frame.faces)):
                self._add(frame, index, face_num)
                face_num += 1

    def _add(self, frame: Frame, index: int, face_num: int) -> None:
        track_id = int(self._track_ids[face_num])
        if track_id < 0:
            return
        vector = None
        if frame.faces.embeddings is not None:
            vector = _unit(frame.faces.embeddings[index])
            if vector is None:
                self.useless += 1
                return
        quality = 0.0 if frame.faces.quality is None else float(frame.faces.quality[index, 3])
        face = Face(
            face_num,
            frame.frame_num,
            frame.pts_s,
            frame.faces.boxes[index],
            quality,
            chip_file(frame.frame_num, index),
            vector,
        )
        pending = self.pending.get(track_id)
        if pending is None:
            track = Track(track_id, int(self._face_ids[face_num]), frame.pts_s, first_frame_num=frame.frame_num)
            pending = self.pending[track_id] = _Pending(track)
        pending.add(face)


class _Pending:
    """A track that is being read."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._total: Array | None = None
        self._candidates: list[Face] = []

    def add(self, face: Face) -> None:
        track = self._track
        track.end_s, track.last_frame_num, track.count = face.pts_s, face.frame_num, track.count + 1
        if face.vector is not None:
            weighted = face.vector.astype(np.float64) * max(face.quality, _LEAST_WEIGHT)
            self._total = weighted if self._total is None else self._total + weighted
        if len(self._candidates) < _CANDIDATES or face.quality > self._candidates[-1].quality:
            self._candidates.append(face)
            self._candidates.sort(key=lambda one: (-one.quality, one.face_num))
            del self._candidates[_CANDIDATES:]

    def finish(self, best_faces: int) -> Track:
        track = self._track
        # Faces that cancel each other out have no mean; the best one stands for them.
        track.mean = None if self._total is None else _unit(self._total)
        if track.mean is None:
            track.mean = self._candidates[0].vector
        track.best = _different(self._candidates, best_faces)
        return track


def _different(candidates: list[Face], count: int) -> list[Face]:
    """Return the best face, then of those at least half as good the ones least like those already taken."""
    chosen, rest = candidates[:1], [face for face in candidates[1:] if face.quality * 2 >= candidates[0].quality]
    while rest and len(chosen) < count:
        taken = [face.vector for face in chosen if face.vector is not None]
        nearness = [
            max((float(one @ face.vector) for one in taken), default=0.0) for face in rest if face.vector is not None
        ]
        # Without vectors the next best ones.
        chosen.append(rest.pop(int(np.argmin(nearness)) if nearness else 0))
    return chosen


def _unit(vector: Array) -> Array | None:
    length = float(np.linalg.norm(np.asarray(vector, np.float64)))
    if not np.isfinite(length) or length < 1e-12:
        return None
    result: Array = np.asarray(vector / length, np.float32)
    return result


def _without_chip(face: Face) -> Face:
    return Face(face.face_num, face.frame_num, face.pts_s, face.box, face.quality, "", face.vector)
