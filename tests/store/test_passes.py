"""A pass is all or nothing, alone, bounded in memory, and leaves no more than it should."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import StoreError
from facesearch_trt.store import ClipStore
from facesearch_trt.types import FaceBatch, Frame

from .synthetic import (
    CHIP,
    DIMENSION,
    HEIGHT,
    KEYS,
    WIDTH,
    contents,
    detect,
    embed,
    exhaust,
    frames,
    single_pass,
    stepwise,
)


class Boom(Exception):
    pass


def _failing(stream: Iterator[Frame], after: int) -> Iterator[Frame]:
    for number, frame in enumerate(stream):
        if number == after:
            raise Boom
        yield frame


@pytest.mark.parametrize("after", [0, 7, 19])
def test_a_failed_first_pass_leaves_nothing(tmp_path: Path, after: int) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with ThreadPoolExecutor(2) as pool, pytest.raises(Boom), store.begin(KEYS) as writer:
        stream = writer.write_frames(detect(_failing(frames(20), after)), keep="all", png_compression=1, executor=pool)
        exhaust(
            writer.write_embeddings(embed(writer.write_faces(stream, executor=pool)), model="n", dimension=DIMENSION)
        )
    assert not store.directory.exists()


@pytest.mark.parametrize("first", ["frames", "faces", "embeddings", "identity"])
def test_a_failed_pass_leaves_earlier_results(tmp_path: Path, first: str) -> None:
    store = single_pass(tmp_path / "clip.pipeline")
    before = contents(store.directory)
    with ThreadPoolExecutor(2) as pool, pytest.raises(Boom), store.begin({first: "new"}) as writer:  # type: ignore[dict-item]
        if first == "frames":
            exhaust(writer.write_frames(_failing(frames(20), 9), keep="all", png_compression=1, executor=pool))
        if first == "faces":
            exhaust(writer.write_faces(_failing(detect(store.load_frames(executor=pool)), 9), executor=pool))
        if first == "embeddings":
            loaded = store.load_faces(with_chips=True, with_embeddings=False)
            exhaust(writer.write_embeddings(_failing(embed(loaded), 9), model="n", dimension=DIMENSION))
        raise Boom
    assert contents(store.directory) == before


def test_commit_before_the_end_is_refused(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises(RuntimeError, match="frames"),
        store.begin({"frames": "k"}) as writer,
    ):
        next(writer.write_frames(frames(20), keep="all", png_compression=1, executor=pool))
        writer.commit()
    assert not store.directory.exists()


def test_fewer_frames_leave_no_picture_of_before(tmp_path: Path) -> None:
    single_pass(tmp_path / "a.pipeline", count=30, seed=3)
    single_pass(tmp_path / "a.pipeline", count=12)
    single_pass(tmp_path / "b.pipeline", count=12)
    assert contents(tmp_path / "a.pipeline") == contents(tmp_path / "b.pipeline")


def test_files_of_the_user_stay(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "a.pipeline", count=30, seed=3)
    mine = ("notes.txt", "frame_1.png", "faces/mine.png")
    for name in mine:
        (store.directory / name).write_text("mine")
    single_pass(tmp_path / "a.pipeline", count=12)
    single_pass(tmp_path / "b.pipeline", count=12)
    found = contents(store.directory)
    assert [found.pop(name) for name in mine] == [b"mine"] * 3
    assert found == contents(tmp_path / "b.pipeline")


@pytest.mark.parametrize(
    ("first", "gone"),
    [
        ("frames", {"faces.csv", "quality.csv", "embeddings.pth", "faces"}),
        ("faces", {"embeddings.pth"}),
        ("embeddings", set()),
    ],
)
def test_a_step_done_again_removes_what_built_on_it(tmp_path: Path, first: str, gone: set[str]) -> None:
    store = single_pass(tmp_path / "clip.pipeline")
    names = set(contents(store.directory))
    with ThreadPoolExecutor(2) as pool, store.begin({first: "again"}) as writer:  # type: ignore[dict-item]
        if first == "frames":
            exhaust(writer.write_frames(frames(20), keep="all", png_compression=1, executor=pool))
        elif first == "faces":
            exhaust(writer.write_faces(detect(store.load_frames(executor=pool)), executor=pool))
        else:
            loaded = store.load_faces(with_chips=True, with_embeddings=False)
            exhaust(writer.write_embeddings(embed(loaded), model="n", dimension=DIMENSION))
        writer.commit()
    left = set(contents(store.directory))
    assert {name for name in names - left if not name.startswith("faces/")} == gone
    assert store.is_done(first, "again")  # type: ignore[arg-type]
    assert not store.is_done("identity", KEYS["identity"])
    record = store.record()
    assert record is not None and (record.counts.tracks, record.counts.people) == (0, 0)
    header = (store.directory / "faces.csv").read_text().splitlines()[0] if first != "frames" else ""
    assert "track_id" not in header and ("enorm" in header) == (first == "embeddings")


def test_without_crops(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "clip.pipeline", crops=False)
    assert not (store.directory / "faces").exists()
    exhaust(store.load_faces(with_chips=False, with_embeddings=True))
    with pytest.raises(StoreError, match=r"the face chips were not kept.*frames_to_faces\.py"):
        exhaust(store.load_faces(with_chips=True, with_embeddings=False))


def test_pictures_not_kept(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "clip.pipeline", keep="faces")
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(StoreError, match=r"frame \d+ was not kept.*--frames all --force"),
    ):
        exhaust(store.load_frames(executor=pool))


def test_a_step_needs_those_before_it(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with pytest.raises(StoreError, match=r"the frames step is not complete here\. Run video_to_frames\.py first"):
        store.begin({"faces": "k"})
    with pytest.raises(StoreError, match=r"the identity step is not complete here\. Run face_to_faceid\.py first"):
        store.load_identity()
    assert not store.directory.exists()


def test_a_clip_without_faces(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with ThreadPoolExecutor(1) as pool, store.begin(KEYS) as writer:
        stream = writer.write_frames(frames(3), keep="all", png_compression=1, executor=pool)
        exhaust(writer.write_embeddings(writer.write_faces(stream, executor=pool), model="n", dimension=DIMENSION))
        writer.write_identity(np.zeros(0, int), np.zeros(0, int))
        writer.record.damage = "ends early"
        writer.commit()
    loaded = list(store.load_faces(with_chips=True, with_embeddings=True))
    assert [len(frame.faces) for frame in loaded] == [0, 0, 0]
    assert store.load_identity()[0].shape == (0,)
    record = store.record()
    assert record is not None and {state.state for state in record.steps.values()} == {"damaged"}
    assert store.is_done("identity", KEYS["identity"])


def test_one_process_at_a_time(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")
    with store.begin(KEYS):
        with pytest.raises(StoreError, match="another process is writing these results"):
            store.begin(KEYS)
        assert not store.tidy(), "what a living process writes is no left-over"
        assert (store.directory / ".partial").is_dir()
    assert not store.directory.exists()
    with store.begin(KEYS):
        pass


def test_a_name_that_is_too_long_is_an_error_of_that_clip(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="file name too long"):
        ClipStore(tmp_path / ("x" * 250 + ".pipeline")).tidy()


def test_tidy(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "clip.pipeline")
    before = contents(store.directory)
    assert not store.tidy()
    (store.directory / ".partial/new").mkdir(parents=True)
    (store.directory / ".partial/new/frame_0000.png").write_bytes(b"half")
    (store.directory / ".run.json.partial").write_bytes(b"{")
    assert store.tidy()
    assert contents(store.directory) == before
    (tmp_path / "other.pipeline/.partial").mkdir(parents=True)
    assert ClipStore(tmp_path / "other.pipeline").tidy()
    assert not (tmp_path / "other.pipeline").exists()


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "clip.pipeline")

    def spoilt(stream: Iterator[Frame], name: str) -> Iterator[Frame]:
        for frame in stream:
            value = getattr(frame.faces, name)
            if value is not None and frame.frame_num == 7:
                value[...] = np.nan
            yield frame

    with ThreadPoolExecutor(1) as pool:
        for name, words in (("boxes", "the detector"), ("quality", "the detector"), ("embeddings", "the embedder")):
            with (
                pytest.raises(StoreError, match=rf"frame 7: {words} gave a value that is not finite"),
                store.begin(KEYS) as writer,
            ):
                stream = writer.write_frames(frames(20), keep="none", png_compression=1, executor=pool)
                stream = detect(_with_pictures(stream))
                if name != "embeddings":
                    stream = spoilt(stream, name)
                stream = embed(writer.write_faces(stream, executor=pool))
                exhaust(writer.write_embeddings(spoilt(stream, name), model="n", dimension=DIMENSION))
    assert not store.directory.exists()


def _with_pictures(stream: Iterator[Frame]) -> Iterator[Frame]:
    for frame in stream:
        frame.image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        yield frame


def test_pictures_do_not_pile_up(tmp_path: Path) -> None:
    """With one slow writer and a fast source, only the pending pictures are alive."""
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def source() -> Iterator[Frame]:
        nonlocal alive, most
        for number in range(30):
            image = np.random.default_rng(number).integers(0, 256, (200, 300, 3), np.uint8)
            weakref.finalize(image, gone)
            alive += 1
            most = max(most, alive)
            yield Frame(number, float(number), 300, 200, image=image)
            del image

    store = ClipStore(tmp_path / "clip.pipeline")
    with ThreadPoolExecutor(1) as pool, store.begin({"frames": "k"}) as writer:
        for frame in writer.write_frames(source(), keep="all", png_compression=6, executor=pool, pending=3):
            assert frame.image is None
        writer.commit()
    gc.collect()
    # Three pending, the one being handed over, and the one that the worker thread lets go of last.
    assert most <= 5


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """Python's own allocations of writing, committing and reading 3,000 frames with two faces each."""
    batch = FaceBatch(
        boxes=np.ones((2, 4), np.float32),
        scores=np.ones(2, np.float32),
        landmarks=np.ones((2, 5, 2), np.float32),
        quality=np.ones((2, 4), np.float32),
        embeddings=np.ones((2, DIMENSION), np.float32),
        chips=np.zeros((2, CHIP, CHIP, 3), np.uint8),
    )

    def run(count: int) -> int:
        store = ClipStore(tmp_path / f"{count}.pipeline")
        tracemalloc.start()
        with ThreadPoolExecutor(1) as pool, store.begin(KEYS) as writer:
            stream = (Frame(i, i / 25, 64, 48, faces=batch, shot=i // 100) for i in range(count))
            stream = writer.write_frames(stream, keep="none", png_compression=1, executor=pool)
            stream = writer.write_faces(stream, executor=pool, crops=False)
            exhaust(writer.write_embeddings(stream, model="n", dimension=DIMENSION))
            writer.write_identity(np.zeros(2 * count, np.int32), np.zeros(2 * count, np.int32))
            writer.commit()
            exhaust(store.load_faces(with_chips=False, with_embeddings=True))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    run(10)
    short, long = run(100), run(1000)
    # 1,800 more faces: a few numbers of 8 bytes each, and, up to 4,096 faces, buffers of their embeddings in float32
    # and float64. The rows would be over 1,000 bytes a face as Python objects.
    assert long - short < 1800 * (60 + DIMENSION * (4 + 8 + 8))


def test_steps_leave_earlier_keys(tmp_path: Path) -> None:
    store = stepwise(tmp_path / "clip.pipeline")
    assert all(store.is_done(step, key) for step, key in KEYS.items())
    record = store.record()
    assert record is not None and record.graph == "software"


@pytest.mark.parametrize("keys", [{}, {"frames": "k", "embeddings": "k"}, {"dance": "k"}])
def test_steps_in_a_row_only(tmp_path: Path, keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not one step or several in a row"):
        ClipStore(tmp_path / "clip.pipeline").begin(keys)  # type: ignore[arg-type]
    assert not (tmp_path / "clip.pipeline").exists()
