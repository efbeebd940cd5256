"""What is written for any faces is what comes back, to the last digit that the pass itself went on with."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facesearch_trt.store import ClipStore
from facesearch_trt.types import FaceBatch, Frame

DIMENSION = 3
pixels = st.floats(-1e4, 1.6e4, width=32)
unit = st.floats(0, 1, width=32)


@st.composite
def frame_with_faces(draw: st.DrawFn, number: int) -> Frame:
    count = draw(st.integers(0, 3))

    def values(shape: tuple[int, ...], elements: st.SearchStrategy[float]) -> np.ndarray:
        return draw(hnp.arrays(np.float32, shape, elements=elements))

    faces = FaceBatch(
        boxes=values((count, 4), pixels),
        scores=values((count,), unit),
        landmarks=values((count, 5, 2), pixels),
        quality=values((count, 4), unit),
        embeddings=values((count, DIMENSION), st.floats(-1e3, 1e3, width=32)),
    )
    pts_s = draw(st.floats(0, 4e5))
    return Frame(number, pts_s, draw(st.integers(1, 9)), draw(st.integers(1, 9)), faces=faces)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.lists(st.integers(1, 10**6), max_size=4))
def test_faces_come_back(data: st.DataObject, steps: list[int]) -> None:
    numbers = np.cumsum(steps).tolist()
    frames = [data.draw(frame_with_faces(number)) for number in numbers]
    count = sum(len(frame.faces) for frame in frames)
    tracks = data.draw(hnp.arrays(np.int64, (count,), elements=st.integers(-1, 10**9)))
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(1) as pool:
        store = ClipStore(Path(directory) / "clip.pipeline")
        with store.begin(dict.fromkeys(("frames", "faces", "embeddings", "identity"), "key")) as writer:
            stream = writer.write_frames(iter(frames), keep="none", png_compression=1, executor=pool)
            stream = writer.write_faces(stream, executor=pool, crops=False)
            passed = list(writer.write_embeddings(stream, model="net", dimension=DIMENSION))
            writer.write_identity(tracks, tracks[::-1].copy())
            writer.commit()
        read = list(store.load_faces(with_chips=False, with_embeddings=True))
        found_tracks, found_faces = store.load_identity()
    np.testing.assert_array_equal(found_tracks, tracks)
    np.testing.assert_array_equal(found_faces, tracks[::-1])
    assert [frame.frame_num for frame in read] == numbers
    for one, other in zip(passed, read, strict=True):
        assert (one.pts_s, one.width, one.height) == (other.pts_s, other.width, other.height)
        for name in ("boxes", "scores", "landmarks", "quality", "embeddings"):
            mine, theirs = getattr(one.faces, name), getattr(other.faces, name)
            if len(one.faces):
                np.testing.assert_array_equal(np.asarray(mine, np.float32), theirs, err_msg=name)
