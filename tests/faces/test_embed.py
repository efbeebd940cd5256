from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch_trt.errors import ModelError
from facesearch_trt.faces import embed as room
from facesearch_trt.faces.embed import Embedder, embed
from facesearch_trt.types import Array, EmbedderSpec, FaceBatch, Frame

from .doubles import Double, embedder_spec, tensor

OUTPUT = {"embedding": tensor("embedding", None, 4)}


def numbers_of(planes: Array) -> dict[str, Array]:
    """Return embeddings that tell which chip was fed, and in a batch of how many."""
    embeddings = np.zeros((len(planes), 4), np.float32)
    embeddings[:, 0] = planes[:, 0, 0, 0]
    embeddings[:, 1] = planes[:, 1, 0, 0]
    embeddings[:, 2] = len(planes)
    return {"embedding": embeddings}


def embedder_of(engine: Double, batch: int = 4, spec: EmbedderSpec | None = None) -> Embedder:
    return Embedder(engine, spec or embedder_spec(), batch=batch)


def frames_with(counts: list[int]) -> Iterator[Frame]:
    """Yield frames with so many faces; a chip's first pixel holds the frame's number as red and the face's as green."""
    for number, count in enumerate(counts):
        chips = np.zeros((count, 8, 8, 3), np.uint8)
        chips[:, 0, 0, 2] = number
        chips[:, 0, 0, 1] = np.arange(count)
        faces = FaceBatch(
            np.full((count, 4), number, np.float32),
            np.ones(count, np.float32),
            np.zeros((count, 5, 2), np.float32),
            chips=chips if count else None,
        )
        yield Frame(number, number / 25, 8, 8, np.zeros((8, 8, 3), np.uint8), faces=faces)


@pytest.mark.parametrize(
    ("colour", "mean", "std", "expected"),
    [
        ("rgb", (0, 0, 0), 1, [30, 20, 10]),
        ("bgr", (0, 0, 0), 1, [10, 20, 30]),
        ("rgb", (127.5, 127.5, 127.5), 127.5, [(30 - 127.5) / 127.5, (20 - 127.5) / 127.5, (10 - 127.5) / 127.5]),
        ("rgb", (1, 2, 3), 2, [14.5, 9, 3.5]),
    ],
)
def test_what_the_network_is_fed(colour: str, mean: tuple[float, ...], std: float, expected: list[float]) -> None:
    """Golden: channel order and normalisation of a pixel of blue 10, green 20, red 30."""
    engine = Double(numbers_of, OUTPUT)
    spec = embedder_spec(colour=colour, mean=tuple(map(float, mean)), std=float(std))
    chips = np.zeros((2, 8, 8, 3), np.uint8)
    chips[1, 5, 6] = [10, 20, 30]
    embedder_of(engine, 4, spec).embed(chips)
    (planes,) = engine.fed
    assert planes.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(planes[1, :, 5, 6], expected, rtol=1e-6)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_chips_go_by_batches(count: int, sizes: list[int]) -> None:
    engine = Double(numbers_of, OUTPUT)
    chips = np.zeros((count, 8, 8, 3), np.uint8)
    chips[:, 0, 0, 2] = np.arange(count)
    embeddings = embedder_of(engine).embed(chips)
    assert embeddings.shape == (count, 4)
    assert embeddings.dtype == np.float32
    assert embeddings[:, 0].tolist() == list(range(count))
    assert [len(planes) for planes in engine.fed] == sizes


def test_a_batch_is_no_larger_than_the_engine_takes() -> None:
    assert embedder_of(Double(numbers_of, OUTPUT, max_batch=2), 32).batch == 2


@pytest.mark.parametrize(
    "engine",
    [
        Double(numbers_of, {"embedding": tensor("embedding", None, 5)}),
        Double(numbers_of, OUTPUT | {"more": tensor("more", None, 4)}),
        Double(numbers_of, OUTPUT, input_shape=(None, 3, 112, 112)),
        Double(numbers_of, OUTPUT, input_shape=(None, 1, 8, 8)),
        Double(numbers_of, OUTPUT, input_shape=(16, 3, 8, 8)),
    ],
)
def test_another_network_is_refused(engine: Double) -> None:
    with pytest.raises(ModelError, match="double"):
        embedder_of(engine)


def run(counts: list[int], batch: int, *, threads: int = 2, ahead: int = 3) -> tuple[list[Frame], list[int]]:
    engine = Double(numbers_of, OUTPUT)
    with ThreadPoolExecutor(threads) as pool:
        frames = list(embed(frames_with(counts), embedder_of(engine, batch), pool, ahead=ahead))
    return frames, sorted(len(planes) for planes in engine.fed)


def check(frames: list[Frame], counts: list[int]) -> None:
    assert [frame.frame_num for frame in frames] == list(range(len(counts)))
    for frame, count in zip(frames, counts, strict=True):
        assert frame.image is None
        assert frame.faces.chips is None
        embeddings = frame.faces.embeddings
        assert embeddings is not None
        assert embeddings.shape == (count, 4)
        assert embeddings[:, 0].tolist() == [frame.frame_num] * count
        assert embeddings[:, 1].tolist() == list(range(count))
        assert frame.faces.boxes[:, 0].tolist() == [frame.frame_num] * count


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0, 0, 1, 2, 3, 9, 20]), max_size=40), st.integers(1, 8))
def test_every_face_gets_its_own_embedding_from_a_full_batch(counts: list[int], batch: int) -> None:
    frames, sizes = run(counts, batch)
    check(frames, counts)
    full, rest = divmod(sum(counts), batch)
    assert sizes == ([rest] if rest else []) + [batch] * full


def test_batches_do_not_depend_on_threads_or_on_how_far_ahead() -> None:
    counts = [1, 0, 3, 5, 0, 0, 2, 2, 7, 1] * 3
    results = [run(counts, 5, threads=threads, ahead=ahead)[0] for threads, ahead in ((1, 1), (4, 6))]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.faces.embeddings, other.faces.embeddings)


def test_a_clip_of_few_faces_holds_few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was held too long goes in a smaller batch, after the same number of frames each time."""
    monkeypatch.setattr(room, "HELD_FRAMES", 10)
    counts = [1 if number % 4 == 0 else 0 for number in range(100)]
    read = 0

    def source() -> Iterator[Frame]:
        nonlocal read
        for frame in frames_with(counts):
            read += 1
            yield frame

    engine = Double(numbers_of, OUTPUT)
    with ThreadPoolExecutor(2) as pool:
        frames = []
        for frame in embed(source(), embedder_of(engine, 32), pool, ahead=2):
            frames.append(frame)
            assert read - len(frames) < 2 * 10
    check(frames, counts)
    assert sorted(len(planes) for planes in engine.fed) == [2] * 5 + [3] * 5


def test_a_clip_without_faces_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HELD_FRAMES", 8)
    frames, sizes = run([0] * 50, 4)
    check(frames, [0] * 50)
    assert sizes == []


def test_batches_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    def answer(planes: Array) -> dict[str, Array]:
        together.wait()
        return numbers_of(planes)

    with ThreadPoolExecutor(3) as pool:
        frames = list(embed(frames_with([2] * 12), embedder_of(Double(answer, OUTPUT), 4), pool, ahead=3))
    check(frames, [2] * 12)


def test_the_embedding_is_the_networks_own() -> None:
    """Not normalised: its norm is kept for enorm."""
    frames, _ = run([3, 2], 4)
    assert frames[1].faces.embeddings is not None
    assert np.linalg.norm(frames[1].faces.embeddings, axis=1).max() > 1


def test_faces_without_chips_are_a_mistake() -> None:
    frame = next(frames_with([2]))
    frame.faces.chips = None
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="without chips"):
        list(embed([frame], embedder_of(Double(numbers_of, OUTPUT)), pool, ahead=1))
