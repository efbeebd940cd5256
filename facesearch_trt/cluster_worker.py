"""What a machine of a Ray cluster does: clips, and telling how far they are.

A clip is done by a child of Ray's worker process (:mod:`.running.isolated`), which loads the networks once for all clips that the
worker gets and may die without taking the worker along.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from .errors import FaceSearchError
from .running.isolated import Isolated, Order
from .running.runner import Outcome
from .types import Clip

__all__ = ["Board", "do_clip", "prepare"]

_TELL_EVERY_S = 1.0

_isolated: dict[bytes, Isolated] = {}
"""The child of this worker process of Ray, by its order."""


class _Teller:
    """A watcher that tells the progress of one clip to where all of it is gathered."""

    def __init__(self, board: Any, number: int) -> None:
        self._board, self._number = board, number
        self._frames = self._faces = 0
        self._told_s = time.monotonic()

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        self._board.tell.remote(("started", self._number, frames_expected))

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        self._frames += frames
        self._faces += faces
        if time.monotonic() - self._told_s > _TELL_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self._frames:
            self._board.tell.remote(("advanced", self._number, self._frames, self._faces))
        self._frames = self._faces = 0
        self._told_s = time.monotonic()

    def finished(self, outcome: Outcome) -> None:
        raise AssertionError("the driver says this")


class Board:
    """Gathers what the workers tell until the driver takes it."""

    def __init__(self) -> None:
        self._events: list[tuple[Any, ...]] = []

    def tell(self, event: tuple[Any, ...]) -> None:
        """Keep what a worker tells."""
        self._events.append(event)

    def take(self) -> list[tuple[Any, ...]]:
        """Return what was told since the last call."""
        events, self._events = self._events, []
        return events


def do_clip(order: Order, clip: Clip, number: int, board: Any) -> Outcome | FaceSearchError:
    """Do a clip in this worker's child; an error of it is returned, so that Ray does not wrap it."""
    key = pickle.dumps(order)
    if key not in _isolated:
        for other in _isolated.values():
            other.close()
        _isolated.clear()
        _isolated[key] = Isolated(order)
    watcher = _Teller(board, number)
    try:
        return _isolated[key].job(clip, watcher)
    except FaceSearchError as error:
        return error
    finally:
        watcher.flush()


def prepare(options: dict[str, Any]) -> tuple[int, str]:
    """Build what the networks need on this machine, unless it is there; one at a time, by the build's own lock."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "options.yaml"
        config.write_text(yaml.safe_dump(options))
        command = [sys.executable, "-m", "facesearch_trt", "build", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, (done.stderr or done.stdout).strip()[-500:]
