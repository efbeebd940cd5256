"""Faces of one shot become tracks: norfair with a distance that joins motion and appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import Array, FaceBatch, Frame
from .deep_sort import TrackerSettings
from .scale import SimilarityScale, unit

__all__ = ["FaceTracker", "load_tracker"]

_REFUSED = 10.0
"""Distance of pairs that cannot be one track; norfair's threshold is 1."""
_REACH_PER_FRAME, _REACH_FRAMES = 0.6, 4
"""Face sizes that a small or blurred face that looks the same may have moved for each frame that it was not seen, and for
how many: a walker of 30 px under a camera that pans crosses half his face from frame to frame."""
_POINTS = 7
"""Two corners of the box and five landmarks."""


@dataclass(slots=True)
class _Track:
    """What the next faces of a track are compared with."""

    number: int
    last_frame: int
    last: Array
    """float32 [D], unit: the latest embedding."""
    trusted: Array
    """float32 [D], unit: the latest trusted embedding; zeros before the first."""
    mean: Array
    """float32 [D]: running mean of the trusted embeddings."""
    faces: int = 0


@dataclass(slots=True)
class _Face:
    """The data of a norfair detection."""

    row: int
    embedding: Array
    trusted: bool


class FaceTracker:
    """Gives each face of a clip's frames a track number. One per clip; it shares nothing with others.

    Parameters
    ----------
    settings: from deep_sort.yaml.
    scale: the embedder's similarity scale.
    """

    def __init__(self, settings: TrackerSettings, scale: SimilarityScale) -> None:
        self._settings = settings
        self._scale = scale
        self._next = 0
        self._shot: int | None = None
        self._frame_num = 0
        self._norfair: Any = None
        self._tracks: dict[int, _Track] = {}

    def update(self, frame: Frame, embeddings: Array, trusted: Array) -> Array:
        """Return the track number of each face, int32 [N]; numbers count from 0 in the order in which tracks start.

        Must be called with every frame, also those without faces: a track's patience and its motion count frames.

        Parameters
        ----------
        embeddings: float32 [N, D], unit length.
        trusted: bool [N], whether the embedding may speak for or against a match.
        """
        gap = frame.frame_num - self._frame_num
        if self._norfair is None or frame.shot != self._shot or gap > self._settings.max_age:
            self._norfair = _norfair_tracker(self)
            self._tracks = {}
            gap = 1
        self._shot, self._frame_num = frame.shot, frame.frame_num
        numbers = np.full(len(frame.faces), -1, np.int32)
        used = _used(frame.faces, self._settings)
        detections = _detections(frame.faces, embeddings, trusted, used)
        # A gap counts in frames of the stream, so that patience and speed mean the same with every N-th frame.
        for _ in range(gap - 1):
            self._norfair.update()
        self._norfair.update(detections, period=gap)
        self._read_matches(detections, frame.frame_num, numbers)
        for row in np.flatnonzero(numbers < 0):
            numbers[row] = self._new_number()
        return numbers

    def _read_matches(self, detections: Sequence[Any], frame_num: int, numbers: Array) -> None:
        now = {id(detection) for detection in detections}
        alive = {}
        for tracked in self._norfair.tracked_objects:
            key = tracked.initializing_id
            track = self._tracks.get(key)
            if id(tracked.last_detection) in now:
                face: _Face = tracked.last_detection.data
                if track is None:
                    nothing = np.zeros_like(face.embedding)
                    track = _Track(self._new_number(), frame_num, nothing, nothing, nothing)
                self._learn(track, face, frame_num)
                numbers[face.row] = track.number
                # norfair lets patience grow with the hits; here a certain track has all of it at once, a new one half.
                certain = track.faces >= self._settings.n_init
                tracked.hit_counter = self._settings.max_age if certain else (self._settings.max_age + 1) // 2
            if track is not None:
                alive[key] = track
        self._tracks = alive

    def _learn(self, track: _Track, face: _Face, frame_num: int) -> None:
        track.faces += 1
        track.last_frame = frame_num
        track.last = face.embedding
        if face.trusted:
            track.trusted = face.embedding
            # The mean forgets, so that a head that slowly turns is compared with how it looked lately.
            track.mean = track.mean * np.float32(1 - 1 / self._settings.nn_budget) + face.embedding

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def distances(self, objects: Sequence[Any], candidates: Sequence[Any]) -> Array:
        """Return float64 [candidates, objects] for norfair: below 1 for a possible match, the less the better."""
        if not len(objects) or not len(candidates):
            return np.zeros((len(candidates), len(objects)))
        tracks = [self._tracks[one.initializing_id] for one in objects]
        predicted = np.stack([one.estimate for one in objects])
        points = np.stack([one.points for one in candidates])
        faces: list[_Face] = [one.data for one in candidates]
        missed = np.array([self._frame_num - track.last_frame for track in tracks], np.float64)
        iou, shift, ratio = _motion(points, predicted)

        embedding = np.stack([face.embedding for face in faces])
        last, trusted = (np.stack([getattr(track, name) for track in tracks]) for name in ("last", "trusted"))
        mean = unit(np.stack([track.mean for track in tracks]))
        known = np.array([face.trusted for face in faces])[:, None] & trusted.any(axis=1)[None]
        evidence = self._scale(np.maximum(embedding @ trusted.T, embedding @ mean.T)).astype(np.float64)
        # Two small or blurred faces tell little of who they are, but a moment later the same one still looks the same.
        evidence = np.where(known, evidence, self._scale(embedding @ last.T))

        patience = np.clip(missed / self._settings.max_age, 0, 1)[None]
        # From one face to the next of a track it is 1.3 and more; the longer it was out of sight, the more has to be
        # asked.
        contradicts = known & (evidence < 1.0 + 0.2 * patience)
        sized = np.abs(np.log(ratio)) < 0.7
        near = (1 - iou <= self._settings.max_iou_distance) & sized
        # Without an embedding to trust only a short gap can be bridged.
        near &= known | (missed[None] <= max(3.0, self._settings.max_age / 4))
        # A fast face that looks alike may have left its predicted box altogether.
        # Also one that nobody can tell moves on while it is not looked at, as with every N-th frame.
        unknown_reach = 1.2 + _REACH_PER_FRAME * np.clip(missed - 1, 0, _REACH_FRAMES)
        reach = np.where(known, 1.0 + 0.15 * np.minimum(missed, 30)[None], unknown_reach[None])
        alike = (evidence >= np.where(known, 1.3, 1.4)) & (shift < reach) & sized
        motion = 0.5 * (1 - iou) + 0.5 * np.minimum(shift, 1)
        appearance = np.clip(1.5 - evidence, 0, 1.5) / 1.5
        cost = np.where(known, 0.4 * motion + 0.6 * appearance, 0.15 + 0.6 * motion + 0.2 * appearance)
        return np.where((near | alike) & ~contradicts, np.minimum(cost, 0.99), _REFUSED)


def load_tracker() -> None:
    """Import norfair, which takes more than a second (SciPy's statistics come with it), ahead of its first use."""
    import norfair  # noqa: F401


def _used(faces: FaceBatch, settings: TrackerSettings) -> Array:
    used = faces.scores >= settings.min_confidence
    if settings.nms_max_overlap < 1 and len(faces) > 1:
        overlap = _iou(faces.boxes[:, None], faces.boxes[None])
        for row in np.argsort(-faces.scores, kind="stable"):
            if used[row]:
                rivals = overlap[row] > settings.nms_max_overlap
                rivals[row] = False
                used &= ~rivals
    return np.asarray(used)


def _detections(faces: FaceBatch, embeddings: Array, trusted: Array, used: Array) -> list[Any]:
    from norfair import Detection

    return [
        Detection(
            points=np.concatenate([faces.boxes[row].reshape(2, 2), faces.landmarks[row]]).astype(np.float64),
            data=_Face(int(row), embeddings[row], bool(trusted[row])),
        )
        for row in np.flatnonzero(used)
    ]


def _motion(points: Array, predicted: Array) -> tuple[Array, Array, Array]:
    """Return IoU of the boxes, mean shift of the landmarks in face sizes, and ratio of the sizes, each [candidates,
    objects]."""
    one, other = points[:, None], predicted[None]
    iou = _iou(one[:, :, :2].reshape(len(points), 1, 4), other[:, :, :2].reshape(1, len(predicted), 4))
    size = _size(one), np.maximum(_size(other), 1.0)
    shift = np.linalg.norm(one[:, :, 2:] - other[:, :, 2:], axis=-1).mean(axis=-1)
    return iou, shift / np.sqrt(size[0] * size[1]), size[0] / size[1]


def _size(points: Array) -> Array:
    sides = np.maximum(points[..., 1, :] - points[..., 0, :], 1.0)
    return np.asarray(np.sqrt(sides.prod(axis=-1)))


def _iou(one: Array, other: Array) -> Array:
    least = np.maximum(one[..., :2], other[..., :2])
    most = np.minimum(one[..., 2:], other[..., 2:])
    both = np.maximum(most - least, 0).prod(axis=-1)
    areas = [np.maximum(box[..., 2:] - box[..., :2], 0).prod(axis=-1) for box in (one, other)]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-9))


def _norfair_tracker(owner: FaceTracker) -> Any:
    from norfair import OptimizedKalmanFilterFactory, Tracker
    from norfair.distances import VectorizedDistance
    from scipy.optimize import linear_sum_assignment

    settings = owner._settings

    class JointDistance(VectorizedDistance):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        def get_distances(self, objects: Any, candidates: Any) -> Array:
            return owner.distances(objects, candidates)

    class SizedFilters(OptimizedKalmanFilterFactory):  # type: ignore[misc]
        """Noise grows with the face: norfair's constants are in px and fit faces of about 60 px."""

        def create_filter(self, initial_detection: Array) -> Any:
            factor = float((_size(initial_detection) / 60.0) ** 2)
            return OptimizedKalmanFilterFactory(
                R=4.0 * factor, Q=0.1 * factor, pos_variance=10 * factor, vel_variance=10 * factor
            ).create_filter(initial_detection)

    class AssigningTracker(Tracker):  # type: ignore[misc]
        """Matches all faces at once at the least total distance; norfair takes the nearest pair first."""

        def match_dets_and_objs(self, distance_matrix: Array, distance_threshold: float) -> tuple[list[int], list[int]]:
            if distance_matrix.size == 0:
                return [], []
            rows, columns = linear_sum_assignment(np.minimum(distance_matrix, distance_threshold))
            taken = distance_matrix[rows, columns] < distance_threshold
            return rows[taken].tolist(), columns[taken].tolist()

    # The distance is named and then replaced, since norfair takes no vectorised distance but its own and warns of any
    # function.
    tracker = AssigningTracker(
        distance_function="iou",
        distance_threshold=1.0,
        hit_counter_max=max(settings.max_age, settings.n_init),
        initialization_delay=min(settings.n_init, settings.max_age) - 1,
        past_detections_length=0,
        filter_factory=SizedFilters(),
    )
    tracker.distance_function = JointDistance()
    return tracker
