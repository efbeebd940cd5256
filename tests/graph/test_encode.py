"""Videos that are written: whole, in their own time, and with a reason where they cannot be."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import BackendError, DecodeError, StoreError
from facesearch_trt.graph import encode
from facesearch_trt.graph.encode import write_timed_video, write_video
from facesearch_trt.types import Array
from tests.graph.helpers import source_of
from tests.media import number_of, numbered

pytestmark = pytest.mark.skipif(
    not any(encode.gstreamer().ElementFactory.find(name) for name in encode._ENCODERS), reason="no H.264 encoder"
)


@pytest.mark.parametrize("size", [(128, 96), (130, 98)], ids=["whole words", "rows with a rest"])
def test_writes_every_picture_at_its_time(tmp_path: Path, size: tuple[int, int]) -> None:
    times_s = [0.0, 0.04, 0.5, 0.54, 2.0]
    pictures = ((numbered(number, size), pts_s) for number, pts_s in enumerate(times_s))
    write_timed_video(tmp_path / "clip.mp4", pictures, 5)
    with source_of(tmp_path / "clip.mp4") as source:
        found = [(number_of(frame.image), round(frame.pts_s, 3)) for frame in source]
    assert found == list(enumerate(times_s))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def noise() -> Iterator[Array]:
    random = np.random.default_rng(0)
    for _ in range(400):
        yield random.integers(0, 255, (360, 640, 3), np.uint8)


def test_a_full_disk_is_an_error_and_no_wait(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreError) as caught:
            write_video(tmp_path / "clip.mp4", noise(), 25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value).startswith(f"{tmp_path / 'clip.mp4'}: the video cannot be written (there is file: ")
    assert "Free disk space" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_an_error_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone/clip\.mp4: the video cannot be written"):
        write_video(tmp_path / "gone" / "clip.mp4", [numbered(0)], 25)


def test_an_encoder_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encode._encoder
    monkeypatch.setattr(encode, "_encoder", lambda *a, **k: f"identity sleep-time=1500000 ! {encoder(*a, **k)}")
    with pytest.raises(StoreError, match=r"the video cannot be written .*no progress of the encoder"):
        write_video(tmp_path / "clip.mp4", (numbered(number) for number in range(40)), 25, stall_timeout_s=0.3)


def test_a_missing_element_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_encoder", lambda *_, **__: "nosuchencoder")
    with pytest.raises(BackendError, match=r"nosuchencoder.*apt-get install"):
        write_video(tmp_path / "clip.mp4", [numbered(0)], 25)


def test_errors_of_the_pictures_stay_their_own(tmp_path: Path) -> None:
    def broken() -> Iterator[Array]:
        yield numbered(0)
        raise DecodeError("cannot be decoded", where="another clip")

    with pytest.raises(DecodeError, match="another clip"):
        write_video(tmp_path / "clip.mp4", broken(), 25)
    with pytest.raises(StoreError, match="no picture"):
        write_video(tmp_path / "clip.mp4", [], 25)
    assert list(tmp_path.iterdir()) == []
