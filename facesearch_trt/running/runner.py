"""Runs a job over many clips: one clip's failure never stops the others, and every outcome is told."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import BackendError, BusyError, FaceSearchError, ModelError, UsageError, WorkerError
from ..types import Clip

__all__ = [
    "DEATHS",
    "Job",
    "Outcome",
    "Stopped",
    "Watcher",
    "choose_at_once",
    "exit_status",
    "largest_first",
    "run_clips",
    "settled",
]

_log = logging.getLogger(__name__)

DEATHS = 2
"""Workers that a clip may kill before it is put aside."""
_BUSY_WAIT_S = 1.0
"""Between two looks at a clip that another process is writing."""


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
        """Work on a clip begins, perhaps not for the first time; ``frames_expected`` is a guess for the progress bar."""
        ...

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        """So many more frames have passed the whole chain, with so many faces."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """Work on a clip ended, well or not."""
        ...


class Stopped(Exception):
    """Raised in a clip's chain when the run ends before the clip; no error of the clip."""


Job = Callable[[Clip, Watcher], Outcome]


def choose_at_once(wanted: int, cores: int) -> int:
    """Return how many clips to have in work.

    ``wanted`` is that number, 0 to choose it: two keep the networks busy while one clip opens, ends or waits for its tracker. The
    threads of the chains share one interpreter, and each keeps about four cores' networks busy (benchmarks/results/scale.md).
    """
    return wanted or max(2, min(8, cores // 4 + 1))


def run_clips(clips: Sequence[Clip], job: Job, watcher: Watcher, *, at_once: int = 1) -> list[Outcome]:
    """Run ``job`` on every clip, ``at_once`` of them at a time, and return the outcomes in the clips' order.

    A ``FaceSearchError`` of one clip becomes its outcome. An error that would meet every clip (a network or runtime that cannot be had,
    wrong use) ends the run at once and is raised. With several at once the largest files come first. A clip that another process is
    writing is put off until that one has finished. A clip whose worker died (WorkerError) is tried again while no other clip is in
    work, so that it cannot take others with it, and fails after the second death that must be its own.
    """
    run = _Run(clips, job, watcher, max(1, min(at_once, len(clips))))
    run.go()
    return [run.outcomes[clip.name] for clip in clips]


class _Run:
    def __init__(self, clips: Sequence[Clip], job: Job, watcher: Watcher, at_once: int) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._at_once = at_once
        self._job = job
        self._watcher = _Stopping(watcher)
        # One at a time they come as a user expects them; several at a time the longest must not come last.
        self._waiting = deque(clips if at_once == 1 else largest_first(clips))
        self._busy: deque[Clip] = deque()
        self._suspects: deque[Clip] = deque()
        self._told: set[str] = set()
        self._deaths: dict[str, int] = {}
        """Of clips that had a worker die under them: how many died while no other clip was in work."""

    def go(self) -> None:
        """Work until there is an outcome for each clip."""
        if self._at_once == 1:
            # In this thread, where an interrupt reaches the clip itself.
            while (clip := self._next(0)) is not None:
                self._note(clip, self._attempt(clip))
            return
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="clip") as executor:
            running: dict[Future[Outcome | FaceSearchError], Clip] = {}
            try:
                while True:
                    # Clips are handed out one by one, so that an error ends the run without starting the rest.
                    while len(running) < self._at_once and (clip := self._next(len(running))) is not None:
                        running[executor.submit(self._attempt, clip)] = clip
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._note(running.pop(future), future.result())
            finally:
                self._watcher.stop()
                for future in running:
                    future.cancel()

    def _next(self, in_work: int) -> Clip | None:
        """Return the clip to start now; None where none is left or those in work have to end first."""
        if self._suspects:
            return None if in_work else self._suspects.popleft()
        if self._waiting:
            return None if in_work and self._is_alone else self._waiting.popleft()
        if self._busy and not in_work:
            time.sleep(_BUSY_WAIT_S)
            return self._busy.popleft()
        return None

    @property
    def _is_alone(self) -> bool:
        """Whether a clip is in work that must be the only one."""
        return any(name not in self.outcomes for name in self._deaths)

    def _attempt(self, clip: Clip) -> Outcome | FaceSearchError:
        """Return a clip's outcome, or the error after which it may be tried again."""
        start = time.monotonic()
        try:
            return self._job(clip, self._watcher)
        except (ModelError, BackendError, UsageError, Stopped):
            raise
        except (BusyError, WorkerError) as error:
            return error
        except FaceSearchError as error:
            message = str(error)
        except Exception as error:  # a fault of ours in one clip must not cost the user the others
            _log.exception("%s: internal error", clip.name)
            message = f"internal error: {error!r}"
        return Outcome(clip, "failed", message, seconds=time.monotonic() - start)

    def _note(self, clip: Clip, result: Outcome | FaceSearchError) -> None:
        if isinstance(result, BusyError):
            if clip.name not in self._told:
                self._told.add(clip.name)
                _log.info("%s: another run is working on it; it is looked at again later", clip.name)
            self._busy.append(clip)
            return
        if isinstance(result, WorkerError):
            # Under several clips, as happens only the first time, it may have been any of them.
            deaths = self._deaths[clip.name] = self._deaths.get(clip.name, int(self._at_once == 1) - 1) + 1
            if deaths < DEATHS:
                _log.warning("%s; trying it once more, by itself", result)
                self._suspects.append(clip)
                return
            result = settled(clip, result)
        assert isinstance(result, Outcome)
        self.outcomes[clip.name] = result
        self._watcher.finished(result)


def settled(clip: Clip, error: FaceSearchError) -> Outcome:
    """Return the outcome of a clip that killed as many workers as it may."""
    return Outcome(clip, "failed", f"put aside after it ended {DEATHS} workers: {error}")


class _Stopping:
    """A watcher through which a run that ends early reaches the chains of its clips."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        self._watcher.started(clip, frames_expected)

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        if self._stop.is_set():
            raise Stopped(clip.name)
        self._watcher.advanced(clip, frames, faces)

    def finished(self, outcome: Outcome) -> None:
        self._watcher.finished(outcome)


def largest_first(clips: Iterable[Clip]) -> list[Clip]:
    """Return clips with the largest files, which take longest, first, so that none of them is begun last."""
    return sorted(clips, key=_size, reverse=True)


def _size(clip: Clip) -> int:
    """Return a video file's bytes, by which longer clips are told from shorter ones; 0 where there is no file."""
    if clip.source is None or clip.kind != "video":
        return 0
    try:
        return os.stat(clip.source).st_size  # noqa: PTH116 - a thousand of them
    except OSError:
        return 0


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """Return 0 when every clip is whole, 1 when one failed or is damaged."""
    return int(any(outcome.state in ("failed", "damaged") for outcome in outcomes))
