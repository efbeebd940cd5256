"""Jobs: what their log tells of their progress, their order, their end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch_trt.cli.progress import LineWatcher
from facesearch_trt.errors import OptionError
from facesearch_trt.report.jobs import Job, Jobs
from facesearch_trt.running.runner import Outcome
from facesearch_trt.types import Clip


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    found = Jobs(lambda: None)
    yield found
    found.close()


def test_progress_is_read_from_what_a_run_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("facesearch_trt.cli.progress.time.monotonic", lambda: now)
    clip = Clip("a: b", Path("a.mp4"), "video", Path("a.pipeline"))
    watcher = LineWatcher(2)
    watcher.started(clip, 100)
    now = 60.0
    watcher.advanced(clip, 50, 0)
    watcher.finished(Outcome(clip, "done", "", 100, 3, 2, 5.0))
    lines = capsys.readouterr().out.splitlines()
    job = Job(1, "run", (), _clips=(0, 2))
    seen = []
    for line in lines:
        job.say(line)
        seen.append(job.progress)
    assert seen == [0.25, 0.5], lines


def test_the_log_is_bounded_and_harmless() -> None:
    job = Job(1, "run", ())
    for number in range(2100):
        job.say(f"\x1b[31m{number}" + "x" * 5000)
    assert (len(job.log), job.dropped) == (2000, 100)
    assert max(map(len, job.log)) == 2000
    assert "\x1b" not in job.log[0]


def test_one_after_the_other(jobs: Jobs) -> None:
    first, second = jobs.start("one", ["config"]), jobs.start("two", ["no-such-command"])
    assert jobs.wait(second, 60)
    assert (first.state, first.status, second.state, second.status) == ("done", 0, "failed", 2)
    assert any("png_compression" in line for line in first.log)
    assert [job.number for job in jobs.all()] == [2, 1]
    assert first.command[0] == sys.executable


def test_cancel(jobs: Jobs, tmp_path: Path) -> None:
    running, waiting = jobs.start("one", ["config"]), jobs.start("two", ["config"])
    jobs.cancel(waiting)
    assert waiting.state == "cancelled"
    assert jobs.wait(running, 60)
    jobs.cancel(running)
    assert running.state == "done"


def test_not_too_many(jobs: Jobs) -> None:
    with pytest.raises(OptionError, match="too many"):
        for _ in range(20):
            jobs.start("again", ["config"])
    for job in jobs.all():
        jobs.cancel(job)


def test_what_cannot_be_started_fails_and_the_next_goes_on(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesearch_trt.report.jobs.sys.executable", "/no/such/python")
    first = jobs.start("one", ["config"])
    assert jobs.wait(first, 60)
    assert first.state == "failed"
    assert "/no/such/python" in first.log[-1]
    monkeypatch.undo()
    second = jobs.start("two", ["config"])
    assert jobs.wait(second, 60)
    assert second.state == "done"
