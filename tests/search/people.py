"""Made-up people and clips for the tests of the index: unit vectors around each person's own direction."""

from __future__ import annotations

import numpy as np

from facesearch_trt.search.rows import ClipEntry, ClipRows
from facesearch_trt.types import Array

__all__ = ["MODEL", "ROOT", "Crowd", "clip_of"]

MODEL, ROOT = "some-embedder", "/videos"


class Crowd:
    """People whose pictures have a cosine of about ``alike`` to each other, and about 0 to anybody else's."""

    def __init__(self, people: int, dimension: int = 128, *, alike: float = 0.6, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._alike = alike
        self._centres = self._directions(people, dimension)

    def _directions(self, count: int, dimension: int) -> Array:
        drawn = self._rng.standard_normal((count, dimension))
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)

    def picture(self, person: int) -> Array:
        """Return a new picture of a person, float32 [D]."""
        return self.pictures(np.array([person]))[0]

    def pictures(self, people: Array | list[int]) -> Array:
        """Return a new picture of each person, float32 [N, D]."""
        noise = self._directions(len(people), self._centres.shape[1])
        mixed = np.sqrt(self._alike) * self._centres[np.asarray(people)] + np.sqrt(1 - self._alike) * noise
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def clip_of(
    name: str,
    vectors: Array,
    *,
    people: list[str | None] | None = None,
    names: list[str | None] | None = None,
    face_ids: list[int] | None = None,
    spans: list[tuple[float, float]] | None = None,
    quality: float = 0.7,
    fingerprint: str = "1",
    root: str = ROOT,
    model: str = MODEL,
) -> ClipRows:
    """Return a clip with a track, and nothing else, for each vector; the n-th is on screen from 10 n to 10 n + 5 s."""
    count = len(vectors)
    spans = spans or [(10.0 * at, 10.0 * at + 5) for at in range(count)]
    numbers = np.arange(count)
    return ClipRows(
        ClipEntry(root, name, model, fingerprint, f"{root}/{name}.mp4", 0.0, 100.0),
        kind=["track"] * count,
        track_id=numbers,
        face_id=numbers if face_ids is None else np.array(face_ids),
        person_id=people or [None] * count,
        name=names or [None] * count,
        start_s=np.array([start for start, _ in spans], np.float64),
        end_s=np.array([end for _, end in spans], np.float64),
        faces=np.full(count, 7),
        pts_s=np.array([start + 1 for start, _ in spans], np.float64),
        frame_num=numbers * 30,
        face_num=numbers,
        boxes=np.tile(np.array([[10, 20, 50, 70]], np.float32), (count, 1)),
        quality=np.full(count, quality, np.float32),
        chip=[f"faces/frame_{at:04d}_face_00.png" for at in range(count)],
        vectors=vectors,
    )
