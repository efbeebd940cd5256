"""Clips through the DeepStream graph on the double: the frames, times and faces of the software graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.types import Clip
from tests.doubles import deepstream
from tests.graph.deepstream_graph import Tuning, agree, arcface, by_software, deepstream_graph, face_ids, taken, yunet
from tests.media import clip_of, frames_of, write_clip


@pytest.fixture
def double() -> Iterator[deepstream.State]:
    with deepstream.installed() as state:
        yield state


@pytest.fixture(scope="module")
def three_clips(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """The real clip, another of its size at another rate, and one of another size and rate."""
    hamilton = shared_data / "clips" / "hamilton.mp4"
    directory = tmp_path_factory.mktemp("clips")
    mirrored = (frame[:, ::-1] for frame in frames_of(hamilton, 150, 40))
    small = (cv2.resize(frame, (480, 270), interpolation=cv2.INTER_AREA) for frame in frames_of(hamilton, 225, 30))
    return [
        clip_of(hamilton),
        clip_of(write_clip(directory / "mirrored.mp4", mirrored, fps=15)),
        clip_of(write_clip(directory / "small.mkv", small, fps=25)),
    ]


def test_several_clips_at_once_give_the_software_graphs_tables(
    double: deepstream.State, three_clips: list[Clip], shared_models: Path, tmp_path: Path
) -> None:
    detector, embedder = yunet(shared_models), arcface(shared_models)
    tuning = Tuning()
    with deepstream_graph(detector, tmp_path, tuning) as graph:
        results = taken(graph, three_clips)
    assert sorted(tuning.lanes) == [(480, 270), (640, 360)]
    assert {len(set(batch)) for batch in double.batches} == {1, 2}, "clips of one size share batches"
    for clip in three_clips:
        wanted = by_software(clip, detector)
        result = results[clip.name]
        assert result.error is None and result.damage is None
        assert len(result.frames) == len(wanted)
        for found, frame in zip(result.frames, wanted, strict=True):
            agree(found, frame)
        assert np.array_equal(face_ids(result.frames, embedder), face_ids(wanted, embedder))
    assert double.decoders_alive == 0
