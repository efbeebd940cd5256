"""Collects a clip's faces frame by frame and says in the end who is who."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import IdentityError
from ..types import Array, Frame
from .collect import TrackCollector
from .deep_sort import TrackerSettings
from .describe import face_trust, face_weights
from .scale import SimilarityScale, unit
from .track import FaceTracker
from .within_clip import people_of_clip

__all__ = ["Identities", "IdentityBuilder", "identify"]


@dataclass(frozen=True, slots=True)
class Identities:
    """Who is who in a clip; row i belongs to the i-th face that was added."""

    track_ids: Array
    """int32 [N]."""
    face_ids: Array
    """int32 [N], from 0 in order of first appearance."""


class IdentityBuilder:
    """Takes the frames of one clip in order and decides in the end. Keeps four bytes per face and a summary per track.

    Parameters
    ----------
    settings: from deep_sort.yaml.
    similarity, similarity_strict: the embedder's calibrated thresholds; see models.entries.EmbedderEntry.
    """

    def __init__(self, settings: TrackerSettings, similarity: float, similarity_strict: float) -> None:
        scale = SimilarityScale.of(similarity, similarity_strict)
        if settings.max_dist is not None:
            scale = SimilarityScale(min(scale.strangers, 0.99 - settings.max_dist), 1 - settings.max_dist)
        self._settings = settings
        self._scale = scale
        self._tracker = FaceTracker(settings, scale)
        self._collector = TrackCollector(scale)

    def add(self, frame: Frame) -> None:
        """Add the next frame, also where it has no faces.

        Raises IdentityError where its faces have no embeddings.
        """
        faces = frame.faces
        if len(faces) and (faces.embeddings is None or len(faces.embeddings) != len(faces)):
            raise IdentityError(
                "faces without embeddings",
                where=f"frame {frame.frame_num}",
                asked=len(faces),
                found=None if faces.embeddings is None else len(faces.embeddings),
                remedy="Run faces_to_embeddings.py first.",
            )
        embeddings = np.zeros((0, 1), np.float32) if faces.embeddings is None else unit(faces.embeddings)
        trusted, weights = face_trust(faces), face_weights(faces)
        numbers = self._tracker.update(frame, embeddings, trusted)
        norms = np.zeros(0) if faces.embeddings is None else np.linalg.norm(faces.embeddings, axis=1)
        self._collector.add(frame, numbers, embeddings, norms=norms, weights=weights, trusted=trusted)

    def finish(self) -> Identities:
        """Return who is who. Nothing may be added afterwards."""
        tracks, of_face, conflicts = self._collector.finish()
        people = people_of_clip(tracks, conflicts, self._scale, self._settings)
        return Identities(of_face, people[of_face])


def identify(frames: Iterable[Frame], builder: IdentityBuilder) -> Iterator[Frame]:
    """Yield the frames unchanged and add each to the builder."""
    for frame in frames:
        builder.add(frame)
        yield frame
