"""Frames with faces made from numbers, and the two ways through the store: one pass, or step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facesearch_trt.store import ClipStore, Keep, RunRecord, StepName
from facesearch_trt.types import FaceBatch, Frame

WIDTH, HEIGHT, CHIP, DIMENSION = 64, 48, 16, 8
KEYS: dict[StepName, str] = {"frames": "k1", "faces": "k2", "embeddings": "k3", "identity": "k4"}


def frames(count: int, *, every: int = 1, seed: int = 0) -> Iterator[Frame]:
    """Yield pictures alone, of three shots."""
    for number in range(0, count, every):
        random = np.random.default_rng((seed, number))
        image = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        image.flags.writeable = False
        shot = 3 * number // count
        yield Frame(number, 0.852 + number / 29.97, WIDTH, HEIGHT, image=image, shot=shot)


def detect(stream: Iterable[Frame], *, seed: int = 0) -> Iterator[Frame]:
    """Give every frame 0 to 3 faces that depend on nothing but its number, with values that need rounding."""
    for frame in stream:
        random = np.random.default_rng((seed, frame.frame_num, 1))
        count = int(random.integers(0, 4))
        corner = random.uniform(-5, 20, (count, 2))
        quality = random.random((count, 4)).astype(np.float32)
        assert frame.image is not None
        yield frame.with_faces(
            FaceBatch(
                boxes=np.concatenate([corner, corner + random.uniform(5, 30, (count, 2))], axis=1).astype(np.float32),
                scores=random.random(count).astype(np.float32),
                landmarks=random.uniform(0, 50, (count, 5, 2)).astype(np.float32),
                chips=np.stack([frame.image[i : i + CHIP, :CHIP] for i in range(count)]) if count else None,
                quality=quality,
            )
        )


def embed(stream: Iterable[Frame]) -> Iterator[Frame]:
    """Take the chip's pixels and the score as the embedding, so that a lost digit shows."""
    for frame in stream:
        faces = frame.faces
        if len(faces):
            assert faces.chips is not None
            pixels = faces.chips.reshape(len(faces), -1)[:, : DIMENSION - 1] / np.float32(7)
            faces.embeddings = np.concatenate([pixels, faces.scores[:, None]], axis=1).astype(np.float32)
        yield frame


class Identify:
    """Collects something from every face that depends on all that the identity stage may look at."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def __call__(self, stream: Iterable[Frame]) -> None:
        for frame in stream:
            faces = frame.faces
            if len(faces):
                assert faces.embeddings is not None and faces.quality is not None
                terms = faces.embeddings.sum(axis=1) + faces.quality.sum(axis=1) + faces.boxes.sum(axis=1)
                self.values += [float(term) * 1e4 + frame.shot + frame.pts_s for term in terms]

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        tracks = np.array([int(value) % 50 for value in self.values], np.int64)
        tracks[::9] = -1
        return tracks, tracks // 7


def single_pass(
    directory: Path,
    count: int = 20,
    *,
    keep: Keep = "all",
    crops: bool = True,
    every: int = 1,
    seed: int = 0,
    keys: Mapping[StepName, str] = KEYS,
    passed: list[Frame] | None = None,
) -> ClipStore:
    """Do all steps at once; ``passed`` collects the frames as the identity stage sees them."""
    store = ClipStore(directory)
    with ThreadPoolExecutor(2) as pool, store.begin(keys) as writer:
        stream = detect(frames(count, every=every, seed=seed), seed=seed)
        stream = writer.write_frames(stream, keep=keep, png_compression=1, executor=pool)
        stream = writer.write_faces(stream, executor=pool, crops=crops)
        identify = Identify()
        stream = writer.write_embeddings(embed(stream), model="net", dimension=DIMENSION)
        identify(stream if passed is None else _collected(stream, passed))
        writer.write_identity(*identify.finish())
        _fill(writer.record)
        writer.commit()
    return store


def stepwise(
    directory: Path,
    count: int = 20,
    *,
    keep: Keep = "all",
    every: int = 1,
    seed: int = 0,
    keys: Mapping[StepName, str] = KEYS,
) -> ClipStore:
    """Do the steps one by one, over what the step before stored; those that are done are skipped."""
    store = ClipStore(directory)

    def todo(step: StepName) -> bool:
        return not store.is_done(step, keys[step])

    with ThreadPoolExecutor(2) as pool:
        if todo("frames"):
            with store.begin({"frames": keys["frames"]}) as writer:
                source = frames(count, every=every, seed=seed)
                exhaust(writer.write_frames(source, keep="all", png_compression=1, executor=pool))
                _fill(writer.record)
                writer.commit()
        if todo("faces"):
            with store.begin({"faces": keys["faces"]}) as writer:
                exhaust(writer.write_faces(detect(store.load_frames(executor=pool), seed=seed), executor=pool))
                writer.keep_pictures(keep)
                writer.commit()
        if todo("embeddings"):
            with store.begin({"embeddings": keys["embeddings"]}) as writer:
                chips = store.load_faces(with_chips=True, with_embeddings=False, executor=pool)
                exhaust(writer.write_embeddings(embed(chips), model="net", dimension=DIMENSION))
                writer.commit()
        if todo("identity"):
            with store.begin({"identity": keys["identity"]}) as writer:
                identify = Identify()
                identify(store.load_faces(with_chips=False, with_embeddings=True))
                writer.write_identity(*identify.finish())
                writer.commit()
    return store


def _collected(stream: Iterable[Frame], frames: list[Frame]) -> Iterator[Frame]:
    for frame in stream:
        frames.append(frame)
        yield frame


def _fill(record: RunRecord) -> None:
    record.clip = "clip"
    record.graph = "software"


def exhaust(stream: Iterable[Frame]) -> None:
    for _ in stream:
        pass


def contents(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory; directories count as files without content."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b""
        for path in sorted(directory.rglob("*"))
    }
