"""Clips' results made from numbers: each frame says who is in it, no picture and no network is needed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facesearch_trt.store import ClipStore, Model
from facesearch_trt.types import Array, FaceBatch, Frame

DIMENSION = 64
SIMILARITY, STRICT = 0.38, 0.44
"""Calibrated thresholds of these vectors: strangers' cosines have a standard deviation of 1/8."""


def person(number: int) -> Array:
    """Return the direction of a person, float64 [D] unit."""
    vector = np.random.default_rng([1, number]).standard_normal(DIMENSION)
    return vector / np.linalg.norm(vector)


def sighting(number: int, *key: int, alike: float = 0.8) -> Array:
    """Return an embedding of a person, not of length 1; two of one person have a cosine of about ``alike``."""
    noise = np.random.default_rng([2, number, *key]).standard_normal(DIMENSION)
    return 3.0 * (alike**0.5 * person(number) + (1 - alike) ** 0.5 * noise / np.linalg.norm(noise))


def write_clip(
    root: Path,
    name: str,
    frames: Sequence[Sequence[int]],
    *,
    face_ids: dict[int, int] | None = None,
    size: float = 80,
    model: str = "net",
    alike: float = 0.8,
    seed: int = 0,
) -> Path:
    """Write a clip whose frames show the given people; their face_ids are counted in order of first appearance."""
    numbers = face_ids or {}
    for frame in frames:
        for who in frame:
            numbers.setdefault(who, len(numbers))
    directory = root / f"{name}.pipeline"
    key = f"{name} {seed} {sorted(numbers.items())}"
    code = [seed, sum(map(ord, name))]

    def stream():
        for number, people in enumerate(frames):
            boxes = np.array(
                [[10 + 100 * i, 10, 10 + 100 * i + size, 10 + size] for i in range(len(people))], np.float32
            )
            faces = FaceBatch.empty()
            if people:
                count = len(people)
                faces = FaceBatch(boxes, np.full(count, 0.9, np.float32), np.zeros((count, 5, 2), np.float32))
                faces.quality = np.tile(np.array([[size, 0.8, 0.8, 0.6]], np.float32), (count, 1))
                faces.embeddings = np.stack([sighting(who, *code, number, alike=alike) for who in people]).astype(
                    np.float32
                )
            yield Frame(number, number / 25, 640, 360, image=np.zeros((360, 640, 3), np.uint8), faces=faces)

    with (
        ThreadPoolExecutor(1) as pool,
        ClipStore(directory).begin(dict.fromkeys(("frames", "faces", "embeddings", "identity"), key)) as writer,
    ):
        passed = writer.write_frames(stream(), keep="none", png_compression=1, executor=pool)
        passed = writer.write_faces(passed, executor=pool, crops=False)
        for _ in writer.write_embeddings(passed, model=model, dimension=DIMENSION):
            pass
        ids = np.array([numbers[who] for frame in frames for who in frame], np.int64)
        writer.write_identity(ids, ids)
        writer.record.clip = name
        writer.record.models["embedder"] = Model(model, "0" * 64, "none")
        writer.commit()
    return directory
