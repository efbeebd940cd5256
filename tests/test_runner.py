"""Many clips: failures are kept apart, order is kept, and what would meet every clip ends the run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from facesearch_trt.errors import DecodeError, ModelError
from facesearch_trt.runner import Outcome, exit_status, run_clips
from facesearch_trt.types import Clip, Frame

CLIPS = [Clip(f"clip{n}", Path(f"clip{n}.mp4"), "video", Path(f"clip{n}.pipeline")) for n in range(6)]


class Notes:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.lock = threading.Lock()

    def started(self, clip: Clip, frames_expected: int | None) -> None: ...

    def frame(self, clip: Clip, frame: Frame) -> None: ...

    def finished(self, outcome: Outcome) -> None:
        with self.lock:
            self.outcomes.append(outcome)


@pytest.mark.parametrize("at_once", [1, 3])
def test_one_clips_failure_leaves_the_others_whole(at_once: int) -> None:
    def job(clip: Clip, watcher: Notes) -> Outcome:
        if clip.name == "clip2":
            raise DecodeError("cannot decode", where=clip.source, remedy="Check it with another player.")
        if clip.name == "clip4":
            raise RuntimeError("a bug")
        return Outcome(clip, "done", frames=1)

    notes = Notes()
    outcomes = run_clips(CLIPS, job, notes, at_once=at_once)
    assert [outcome.clip for outcome in outcomes] == CLIPS
    assert [outcome.state for outcome in outcomes] == ["done", "done", "failed", "done", "failed", "done"]
    assert outcomes[2].message == "clip2.mp4: cannot decode. Check it with another player."
    assert "a bug" in outcomes[4].message
    assert exit_status(outcomes) == 1
    assert exit_status(outcomes[:2]) == 0
    assert len(notes.outcomes) == 6


@pytest.mark.parametrize("at_once", [1, 2])
def test_what_would_meet_every_clip_ends_the_run(at_once: int) -> None:
    seen = []

    def job(clip: Clip, watcher: Notes) -> Outcome:
        seen.append(clip.name)
        raise ModelError("the weights are gone")

    with pytest.raises(ModelError):
        run_clips(CLIPS, job, Notes(), at_once=at_once)
    assert len(seen) <= at_once


def test_at_most_so_many_clips_are_at_work() -> None:
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(2, timeout=10)

    def job(clip: Clip, watcher: Notes) -> Outcome:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1
        return Outcome(clip, "done")

    run_clips(CLIPS, job, Notes(), at_once=2)
    assert most == 2
