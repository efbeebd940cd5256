"""Frames with made-up faces whose truth is known: no pictures, no networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from facesearch_trt.identity.builder import Identities, IdentityBuilder
from facesearch_trt.identity.deep_sort import TrackerSettings
from facesearch_trt.types import Array, FaceBatch, Frame

SETTINGS = TrackerSettings(
    max_dist=None, min_confidence=0.0, nms_max_overlap=1.0, max_iou_distance=0.7, max_age=30, n_init=3, nn_budget=100
)

_FIVE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


@dataclass(frozen=True)
class Look:
    """The statistics of an embedder."""

    dimension: int
    strangers: float
    """Mean cosine of strangers."""
    session: float
    """Mean cosine of one person's faces from two shots."""
    faces: float
    """Mean cosine of one person's faces from one shot."""
    similarity: float
    strict: float


ARCFACE = Look(128, 0.01, 0.65, 0.9, 0.35, 0.40)
DLIB = Look(128, 0.84, 0.965, 0.985, 0.925, 0.935)


class Cast:
    """Embeddings of people: a part that all faces share, a part of the person, of the shot, and of the face."""

    def __init__(self, look: Look, seed: int = 0) -> None:
        self.look = look
        self._seed = seed

    def _direction(self, *key: int) -> Array:
        vector = np.random.default_rng([self._seed, *key]).standard_normal(self.look.dimension)
        return vector / np.linalg.norm(vector)

    def embedding(self, person: int, shot: int, face: int, noise: float = 1.0) -> Array:
        look = self.look
        return (
            np.sqrt(look.strangers) * self._direction(0)
            + np.sqrt(look.session - look.strangers) * self._direction(1, person)
            + np.sqrt(look.faces - look.session) * self._direction(2, person, shot)
            + noise * np.sqrt(1 - look.faces) * self._direction(3, person, shot, face)
        ).astype(np.float32)


Path = Callable[[float], tuple[float, float, float] | None]
"""From the time in frames to a face's centre x, y and size in px; None while it is away."""


@dataclass(frozen=True)
class Actor:
    person: int
    path: Path
    shot: int = 0
    quality: float = 0.8
    size_scale: float = 1.0


def still(x: float, y: float, size: float = 80, start: float = 0, end: float = np.inf) -> Path:
    return lambda t: (x, y, size) if start <= t < end else None


def walk(x: float, y: float, speed: float, size: float = 80, start: float = 0, end: float = np.inf) -> Path:
    return lambda t: (x + speed * (t - start), y, size) if start <= t < end else None


def film(
    actors: Iterable[Actor],
    length: int,
    cast: Cast,
    *,
    every: int = 1,
    rate: float = 1.0,
    cuts: tuple[int, ...] = (),
    seed: int = 0,
) -> Iterator[tuple[Frame, list[int]]]:
    """Yield each frame and the person of each of its faces; ``rate`` 2 shows the same scene at twice the frame rate."""
    actors = list(actors)
    for number in range(0, round(length * rate), every):
        time = number / rate
        shot = sum(time >= cut for cut in cuts)
        rng = np.random.default_rng([seed, number])
        seen = [(actor, place) for actor in actors if actor.shot == shot and (place := actor.path(time)) is not None]
        boxes, landmarks, embeddings, quality = [], [], [], []
        for actor, (middle_x, middle_y, size) in seen:
            x, y = np.array([middle_x, middle_y]) + rng.normal(0, 0.01 * size, 2)
            boxes.append([x - size / 2, y - size / 2, x + size / 2, y + size / 2])
            landmarks.append(np.array([x - size / 2, y - size / 2]) + _FIVE * size)
            embeddings.append(cast.embedding(actor.person, shot, number))
            quality.append([size, actor.quality, actor.quality, actor.quality**2])
        faces = FaceBatch.empty()
        if seen:
            faces = FaceBatch(
                np.array(boxes, np.float32), np.full(len(seen), 0.9, np.float32), np.array(landmarks, np.float32)
            )
            faces.embeddings = np.array(embeddings, np.float32)
            faces.quality = np.array(quality, np.float32)
        yield Frame(number, number / 30, 1920, 1080, shot=shot, faces=faces), [actor.person for actor, _ in seen]


def identities(
    scene: Iterable[tuple[Frame, list[int]]], look: Look, settings: TrackerSettings = SETTINGS
) -> tuple[Identities, list[int]]:
    """Return who is who as decided, and the true person of each face."""
    builder = IdentityBuilder(settings, look.similarity, look.strict)
    truth: list[int] = []
    for frame, people in scene:
        builder.add(frame)
        truth += people
    return builder.finish(), truth


def pairs(ids: Iterable[int], truth: Iterable[int]) -> set[tuple[int, int]]:
    """Return the distinct pairs (id, person)."""
    return set(zip(map(int, ids), truth, strict=True))
