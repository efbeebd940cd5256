"""Sums up the tracks of a clip piece by piece and cuts a track where it goes over to another person."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from ..types import Array, Frame
from .describe import TrackDescription
from .scale import SimilarityScale

__all__ = ["TrackCollector"]

_PIECE = 5
"""Trusted faces that make a piece: enough for a mean that pose and expression do not upset."""
_ANOTHER = 1.2
"""Evidence below which a piece is another person than its track so far. Measured on tracks of one person: 1.4 and
more."""


@dataclass(slots=True)
class _Live:
    """A track that is still going on."""

    recent: TrackDescription
    """The piece that is being filled; its number is the piece's."""
    settled: TrackDescription | None = None
    """All pieces before; its number is the track's."""
    met: set[int] = field(default_factory=set)
    """Pieces that shared a frame with the recent one."""


class TrackCollector:
    """Keeps four bytes per face and a summary per track.

    A tracker may go over from one person to another where a dissolve turns one face into the other, or where a face
    that nobody can recognise lies in between. So a track is filled in pieces, and a piece that is not like the track
    before it starts a new track.
    """

    def __init__(self, scale: SimilarityScale) -> None:
        self._scale = scale
        self._shot: int | None = None
        self._live: dict[int, _Live] = {}
        self._piece_of_face = array("i")
        self._track_of_piece = array("i")
        self._tracks: list[TrackDescription] = []
        self._conflicts: set[tuple[int, int]] = set()
        self._together: list[int] = []

    def add(
        self, frame: Frame, numbers: Array, embeddings: Array, *, norms: Array, weights: Array, trusted: Array
    ) -> None:
        """Add the faces of the next frame.

        Parameters
        ----------
        numbers: int32 [N], as the tracker gave them.
        embeddings: float32 [N, D], unit length; ``norms``, float [N], are what they had before.
        weights: float [N], what each counts in its person's mean.
        trusted: bool [N], whether it may decide who it is.
        """
        if frame.shot != self._shot:
            self._end_all()
            self._shot = frame.shot
        together = []
        for face, number in enumerate(numbers.tolist()):
            row = len(self._piece_of_face)
            live = self._live.get(number)
            if live is None:
                live = self._live[number] = _Live(self._new_piece(frame, face, row))
            elif live.recent.trusted >= _PIECE:
                self._settle(live)
                live.recent, live.met = self._new_piece(frame, face, row), set()
            live.recent.add(
                frame,
                face,
                embedding=embeddings[face],
                norm=float(norms[face]),
                weight=float(weights[face]),
                trusted=bool(trusted[face]),
            )
            self._piece_of_face.append(live.recent.number)
            together.append(live.recent.number)
        # Most frames hold the same pieces as the one before.
        if together != self._together:
            for number, piece in zip(numbers.tolist(), together, strict=True):
                self._live[number].met.update(other for other in together if other != piece)
            self._together = together

    def finish(self) -> tuple[list[TrackDescription], Array, list[tuple[int, int]]]:
        """Return the tracks in order of their first face, the track of each face, int32 [N], and the pairs of tracks
        that share a frame. Tracks are numbered by their place."""
        self._end_all()
        order = sorted(range(len(self._tracks)), key=lambda track: self._tracks[track].first_row)
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        tracks = [self._tracks[track] for track in order]
        for number, track in enumerate(tracks):
            track.number = number
        track_of_piece = place[np.array(self._track_of_piece, np.int32)] if order else np.zeros(0, np.int32)
        of_face = track_of_piece[np.array(self._piece_of_face, np.int32)] if order else np.zeros(0, np.int32)
        pairs = ((int(place[one]), int(place[other])) for one, other in self._conflicts)
        return tracks, of_face, sorted((min(pair), max(pair)) for pair in pairs)

    def _new_piece(self, frame: Frame, face: int, row: int) -> TrackDescription:
        self._track_of_piece.append(-1)
        return TrackDescription.start(len(self._track_of_piece) - 1, frame, face, row)

    def _settle(self, live: _Live) -> None:
        """Put the recent piece to its track, or let it begin another."""
        piece = live.recent.number
        if live.settled is None or self._is_another(live.settled, live.recent):
            live.settled = live.recent
            live.settled.number = len(self._tracks)
            self._tracks.append(live.settled)
        else:
            live.settled.absorb(live.recent)
        track = live.settled.number
        self._track_of_piece[piece] = track
        # Of two pieces that met, the one settled later finds the other's track.
        others = {self._track_of_piece[other] for other in live.met} - {-1, track}
        self._conflicts.update((min(track, other), max(track, other)) for other in others)

    def _is_another(self, settled: TrackDescription, piece: TrackDescription) -> bool:
        if settled.trusted < 2 or piece.trusted < 2:
            return False
        return float(self._scale(settled.mean @ piece.mean)) < _ANOTHER

    def _end_all(self) -> None:
        for live in self._live.values():
            self._settle(live)
        self._live = {}
        self._together = []
