"""What the tests of this room share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from facesearch_trt.graph.software import SoftwareSource
from facesearch_trt.types import Array, Frame
from tests.media import CODECS, MUXERS, clip_of, missing, numbered, write_clip


def pictures(count: int = 30, size: tuple[int, int] = (128, 96)) -> Iterator[Array]:
    """Yield pictures that show their number."""
    return (numbered(number, size) for number in range(count))


def made(path: Path, frames: Iterable[Array] | None = None, **options: Any) -> Path:
    """Write a clip, or skip where this machine lacks the encoder."""
    lacking = missing(CODECS[options.get("codec", "h264")].format(gop=1), MUXERS[path.suffix])
    if lacking:
        pytest.skip(f"GStreamer has no {' '.join(lacking)} here to make the clip with")
    return write_clip(path, pictures() if frames is None else frames, **options)


def source_of(path: Path, *, stall_timeout_s: float = 30) -> SoftwareSource:
    """Return the software source of a file."""
    return SoftwareSource(clip_of(path), stall_timeout_s=stall_timeout_s)


def decode(path: Path) -> tuple[list[Frame], str | None]:
    """Return all frames of a file and its damage."""
    with source_of(path) as source:
        return list(source), source.damage


def state_threads() -> list[str]:
    """Return the threads that still change the state of a pipeline."""
    return [thread.name for thread in threading.enumerate() if thread.name == "bounded"]


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
    """Return once ``condition`` holds; fails when that takes too long."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.01)
