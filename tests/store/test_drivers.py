"""The single pass and the steps one by one leave the same bytes, and what is read back is what was passed on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.store import Keep
from facesearch_trt.types import Frame

from .synthetic import KEYS, contents, detect, frames, single_pass, stepwise


@pytest.mark.parametrize(("keep", "every"), [("all", 1), ("all", 3), ("faces", 1), ("none", 1)])
def test_same_files(tmp_path: Path, keep: Keep, every: int) -> None:
    single_pass(tmp_path / "single.pipeline", keep=keep, every=every)
    stepwise(tmp_path / "steps.pipeline", keep=keep, every=every)
    single, steps = contents(tmp_path / "single.pipeline"), contents(tmp_path / "steps.pipeline")
    assert single.keys() == steps.keys()
    assert [name for name in single if single[name] != steps[name]] == []
    pictures = sum(name.startswith("frame_") and name.endswith(".png") for name in single)
    everything = len(range(0, 20, every))
    assert {"all": pictures == everything, "faces": 0 < pictures < everything, "none": pictures == 0}[keep]


@pytest.mark.parametrize("keep", ["all", "faces"])
def test_steps_one_by_one_over_a_single_pass(tmp_path: Path, keep: Keep) -> None:
    """Redoing later steps over other results leaves nothing of these."""
    single_pass(tmp_path / "a.pipeline", keep=keep)
    single_pass(tmp_path / "b.pipeline", count=30, seed=5, keys=dict.fromkeys(KEYS, "before"))
    stepwise(tmp_path / "b.pipeline", keep=keep)
    assert contents(tmp_path / "a.pipeline") == contents(tmp_path / "b.pipeline")


def test_read_back_is_what_was_passed_on(tmp_path: Path) -> None:
    """Whoever works behind a writer sees what whoever reads the tables sees."""
    passed: list[Frame] = []

    store = single_pass(tmp_path / "a.pipeline", passed=passed)
    loaded = list(store.load_faces(with_chips=True, with_embeddings=True))
    assert [frame.frame_num for frame in loaded] == list(range(20))
    assert {len(frame.faces) for frame in loaded} == {0, 1, 2, 3}
    for before, after in zip(passed, loaded, strict=True):
        for name in ("pts_s", "width", "height", "file", "shot", "image"):
            assert getattr(before, name) == getattr(after, name)
        for name in ("boxes", "scores", "landmarks", "quality", "embeddings", "chips"):
            value, read = getattr(before.faces, name), getattr(after.faces, name)
            if len(before.faces):
                assert read.dtype == value.dtype
                np.testing.assert_array_equal(read, value)


def test_pictures_come_back_exactly(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "a.pipeline")
    with ThreadPoolExecutor(2) as pool:
        for before, after in zip(frames(20), store.load_frames(executor=pool), strict=True):
            assert after.image is not None and not after.image.flags.writeable
            np.testing.assert_array_equal(before.image, after.image)
            assert (after.shot, after.file) == (before.shot, f"frame_{before.frame_num:04d}.png")


def test_record_of_a_pass(tmp_path: Path) -> None:
    store = single_pass(tmp_path / "a.pipeline", keep="faces")
    record = store.record()
    assert record is not None
    with_faces = [frame for frame in detect(frames(20)) if len(frame.faces)]
    assert record.counts.frames == 20
    assert record.counts.pictures == len(with_faces)
    assert record.counts.faces == sum(len(frame.faces) for frame in with_faces)
    tracks, people = store.load_identity()
    assert record.counts.tracks == len(set(tracks.tolist()) - {-1})
    assert record.counts.people == len(set(people.tolist()) - {-1})
    assert -1 in tracks
    assert {step: state.key for step, state in record.steps.items()} == KEYS
    assert {state.state for state in record.steps.values()} == {"done"}
    assert all(store.is_done(step, key) for step, key in KEYS.items())
    assert not store.is_done("faces", "another key")
