"""Runs a job over many clips: one clip's failure never stops the others, and every outcome is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal, Protocol

from .errors import BackendError, FaceSearchError, ModelError, UsageError
from .types import Clip, Frame

__all__ = ["Job", "Outcome", "Watcher", "exit_status", "run_clips"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one clip."""

    clip: Clip
    state: Literal["done", "skipped", "damaged", "failed"]
    """``skipped``: already complete. ``damaged``: done with what could be decoded."""
    message: str = ""
    """Why it failed or is damaged, one line."""
    frames: int = 0
    faces: int = 0
    people: int = 0
    seconds: float = 0.0


class Watcher(Protocol):
    """Is told of progress, from several threads."""

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        """Work on a clip begins; ``frames_expected`` is a guess for the progress bar."""
        ...

    def frame(self, clip: Clip, frame: Frame) -> None:
        """A frame has passed the whole chain."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """Work on a clip ended, well or not."""
        ...


Job = Callable[[Clip, Watcher], Outcome]


def run_clips(clips: Sequence[Clip], job: Job, watcher: Watcher, *, at_once: int = 1) -> list[Outcome]:
    """Run ``job`` on every clip, ``at_once`` of them at a time, and return the outcomes in the clips' order.

    A ``FaceSearchError`` of one clip becomes its outcome. An error that would meet every clip (a network or runtime that cannot be had,
    wrong use) ends the run at once and is raised.
    """
    if at_once <= 1:
        return [_run_one(clip, job, watcher) for clip in clips]
    outcomes: dict[str, Outcome] = {}
    waiting = iter(clips)
    with ThreadPoolExecutor(at_once, thread_name_prefix="clip") as executor:
        running: set[Future[Outcome]] = set()
        try:
            while True:
                # Clips are handed out one by one, so that an error ends the run without starting the rest.
                for clip in _take(waiting, at_once - len(running)):
                    running.add(executor.submit(_run_one, clip, job, watcher))
                if not running:
                    break
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    outcome = future.result()
                    outcomes[outcome.clip.name] = outcome
        finally:
            for future in running:
                future.cancel()
    return [outcomes[clip.name] for clip in clips]


def _take(clips: Iterable[Clip], count: int) -> list[Clip]:
    return [clip for _, clip in zip(range(count), clips, strict=False)]


def _run_one(clip: Clip, job: Job, watcher: Watcher) -> Outcome:
    start = time.monotonic()
    try:
        outcome = job(clip, watcher)
    except (ModelError, BackendError, UsageError):
        raise
    except FaceSearchError as error:
        outcome = Outcome(clip, "failed", str(error), seconds=time.monotonic() - start)
    except Exception as error:  # a fault of ours in one clip must not cost the user the others
        _log.exception("%s: internal error", clip.name)
        outcome = Outcome(clip, "failed", f"internal error: {error!r}", seconds=time.monotonic() - start)
    watcher.finished(outcome)
    return outcome


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """Return 0 when every clip is whole, 1 when one failed or is damaged."""
    return int(any(outcome.state in ("failed", "damaged") for outcome in outcomes))
