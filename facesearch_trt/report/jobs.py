"""Runs of the program that the web pages start: one after the other, each in a process of its own, with its log."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from ..errors import OptionError

__all__ = ["Job", "Jobs", "State"]

State = Literal["waiting", "running", "done", "failed", "cancelled"]

_LOG_LINES, _LINE_LENGTH = 2000, 2000
_WAITING, _REMEMBERED = 8, 50
_PATIENCE_S = 20.0
"""After which a run that was asked to end is killed."""

_CLIP_DONE = re.compile(r"\[(\d+)/(\d+)\] ")
_FRAMES_DONE = re.compile(r".*: (\d+) of about (\d+) frames,")
"""Lines of ``cli/progress.py``."""


@dataclass
class Job:
    """One run."""

    number: int
    title: str
    command: tuple[str, ...] = field(repr=False)
    state: State = "waiting"
    at: str = field(default_factory=lambda: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    """When it was asked for, UTC."""
    status: int | None = None
    """Exit status: 0 all done, 1 something failed, 2 wrong use."""
    progress: float = 0.0
    """0 to 1, as far as it can be told."""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES), repr=False)
    """The last lines."""
    dropped: int = 0
    """Lines before those."""
    _clips: tuple[int, int] = (0, 0)
    """Done, and of how many."""

    def say(self, line: str) -> None:
        """Add a line to the log and see how far the run is."""
        if len(self.log) == _LOG_LINES:
            self.dropped += 1
        self.log.append("".join(sign if sign.isprintable() else "�" for sign in line[:_LINE_LENGTH]))
        clip, frames = _CLIP_DONE.match(line), _FRAMES_DONE.match(line)
        if clip is not None:
            self._clips = (int(clip[1]), int(clip[2]))
            self.progress = self._clips[0] / max(1, self._clips[1])
        elif frames is not None:
            done, total = self._clips
            within = min(1.0, int(frames[1]) / max(1, int(frames[2])))
            self.progress = max(self.progress, (done + within) / total) if total else 0.0

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """Runs jobs one after the other in a thread. May be used from several threads.

    Parameters
    ----------
    when_done: called after each job, in the jobs' thread.
    """

    def __init__(self, when_done: Callable[[], None]) -> None:
        self._when_done = when_done
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def start(self, title: str, arguments: Sequence[str], *, clips: int = 0) -> Job:
        """Have ``facesearch ARGUMENTS`` run, on so many clips, as soon as those before it are done.

        Raises OptionError where too many wait already.
        """
        with self._changed:
            if sum(job.state == "waiting" for job in self._jobs.values()) >= _WAITING:
                raise OptionError("too many jobs wait already", found=_WAITING, remedy="Wait, or cancel some.")
            job = Job(
                next(self._numbers), title, (sys.executable, "-m", "facesearch_trt", *arguments), _clips=(0, clips)
            )
            self._jobs[job.number] = job
            for number in [number for number, one in self._jobs.items() if one.over][:-_REMEMBERED]:
                del self._jobs[number]
            self._changed.notify_all()
            return job

    def all(self) -> list[Job]:
        """Return the jobs, the latest first."""
        with self._changed:
            return sorted(self._jobs.values(), key=lambda job: -job.number)

    def get(self, number: int) -> Job | None:
        """Return a job; None where there is none."""
        with self._changed:
            return self._jobs.get(number)

    def cancel(self, job: Job) -> None:
        """End a job: finished clips are kept, the next run goes on from there."""
        with self._changed:
            if job.state == "waiting":
                job.state = "cancelled"
            elif job.state == "running" and self._process is not None:
                job.state = "cancelled"
                self._end(self._process)
            self._changed.notify_all()

    def wait(self, job: Job, timeout_s: float) -> bool:
        """Wait for the end of a job; return whether it ended."""
        with self._changed:
            return self._changed.wait_for(lambda: job.over and self._process is None, timeout_s)

    def close(self) -> None:
        """End what runs, and start nothing more."""
        with self._changed:
            self._stopped = True
            if self._process is not None:
                self._end(self._process)
            self._changed.notify_all()
        self._thread.join()

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        killer = threading.Timer(_PATIENCE_S, _kill, [process])
        killer.daemon = True
        killer.start()

    def _next(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == "waiting"), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._next() is not None)
                job = self._next()
                if self._stopped or job is None:
                    return
                job.state = "running"
                # A group of its own: Ctrl-C at the server does not reach it twice, and a kill reaches its children.
                try:
                    process = self._process = subprocess.Popen(
                        job.command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                        encoding="utf-8",
                        errors="replace",
                        start_new_session=True,
                        env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    )
                except OSError as error:
                    job.say(f"it cannot be started: {error}")
                    job.state = "failed"
                    self._changed.notify_all()
                    continue
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    with self._changed:
                        job.say(line.rstrip("\n"))
            status = process.wait()
            self._when_done()
            with self._changed:
                job.status, self._process = status, None
                if job.state == "running":
                    job.state = "done" if status == 0 else "failed"
                    job.progress = 1.0 if status == 0 else job.progress
                self._changed.notify_all()


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
