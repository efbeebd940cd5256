"""Many clips: failures are kept apart, order is kept, and what would meet every clip ends the run."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from facesearch_trt.errors import BusyError, DecodeError, ModelError, WorkerError
from facesearch_trt.running.runner import Outcome, choose_at_once, exit_status, run_clips
from facesearch_trt.types import Clip

CLIPS = [Clip(f"clip{n}", Path(f"clip{n}.mp4"), "video", Path(f"clip{n}.pipeline")) for n in range(6)]


class Notes:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.lock = threading.Lock()

    def started(self, clip: Clip, frames_expected: int | None) -> None: ...

    def advanced(self, clip: Clip, frames: int, faces: int) -> None: ...

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


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_clip_that_another_run_writes_is_done_after_the_others(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesearch_trt.running.runner._BUSY_WAIT_S", 0)
    tried: list[str] = []

    def job(clip: Clip, watcher: Notes) -> Outcome:
        tried.append(clip.name)
        if clip.name == "clip0" and tried.count("clip0") < 4:
            raise BusyError("another process is writing these results", where=clip.output)
        return Outcome(clip, "skipped" if clip.name == "clip0" else "done")

    outcomes = run_clips(CLIPS, job, Notes(), at_once=at_once)
    assert [outcome.state for outcome in outcomes] == ["skipped"] + ["done"] * 5
    assert tried.count("clip0") == 4 and tried[-1] == "clip0"
    assert sorted(set(tried)) == [clip.name for clip in CLIPS]


@pytest.mark.parametrize("at_once", [1, 3])
def test_who_killed_a_worker_is_tried_again_alone(at_once: int) -> None:
    lock, now = threading.Lock(), 0
    deaths: dict[str, int] = {}
    alone: list[str] = []

    def job(clip: Clip, watcher: Notes) -> Outcome:
        nonlocal now
        with lock:
            now += 1
            if deaths.get(clip.name):
                assert now == 1, "another clip is in work"
                alone.append(clip.name)
        try:
            # The worker of clip2 takes clip3 with it the first time.
            if clip.name == "clip2" or (clip.name == "clip3" and not deaths.get("clip3")):
                deaths[clip.name] = deaths.get(clip.name, 0) + 1
                raise WorkerError("the process that worked on it died", where=clip.source, found="SIGSEGV")
            return Outcome(clip, "done")
        finally:
            with lock:
                now -= 1

    notes = Notes()
    outcomes = run_clips(CLIPS, job, notes, at_once=at_once)
    assert [outcome.state for outcome in outcomes] == ["done", "done", "failed", "done", "done", "done"]
    assert "SIGSEGV" in outcomes[2].message and "2 workers" in outcomes[2].message
    assert deaths == {"clip2": 2 if at_once == 1 else 3, "clip3": 1}
    assert set(alone) == {"clip2", "clip3"}
    assert len(notes.outcomes) == 6


def test_an_interrupt_reaches_clips_in_other_threads() -> None:
    ready = threading.Barrier(2, timeout=10)
    ended: list[str] = []

    def job(clip: Clip, watcher: Notes) -> Outcome:
        ready.wait()
        try:
            if clip.name == CLIPS[0].name:
                raise ModelError("the weights are gone")
            while True:
                watcher.advanced(clip, 1, 0)
                time.sleep(0.001)
        finally:
            ended.append(clip.name)

    with pytest.raises(ModelError):
        run_clips(CLIPS[:2], job, Notes(), at_once=2)
    assert sorted(ended) == ["clip0", "clip1"]


@pytest.mark.parametrize(("wanted", "cores", "chosen"), [(0, 2, 2), (5, 2, 5), (0, 16, 5), (0, 64, 8), (1, 64, 1)])
def test_clips_at_once(wanted: int, cores: int, chosen: int) -> None:
    assert choose_at_once(wanted, cores) == chosen


def test_the_largest_come_first_when_several_are_in_work(tmp_path: Path) -> None:
    clips = []
    for name, size in (("a", 10), ("b", 3000), ("c", 200)):
        (tmp_path / f"{name}.mp4").write_bytes(b"0" * size)
        clips.append(Clip(name, tmp_path / f"{name}.mp4", "video", tmp_path / f"{name}.pipeline"))
    order: list[str] = []

    def job(clip: Clip, watcher: Notes) -> Outcome:
        order.append(clip.name)
        time.sleep(0.05)
        return Outcome(clip, "done")

    assert [outcome.clip for outcome in run_clips(clips, job, Notes(), at_once=2)] == clips
    assert set(order[:2]) == {"b", "c"} and order[2] == "a"
    order.clear()
    run_clips(clips, job, Notes())
    assert order == ["a", "b", "c"]
