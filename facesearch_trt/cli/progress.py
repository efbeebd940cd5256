"""Shows how far a run is: bars with an ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ..running.runner import Outcome
from ..types import Clip
from .text import safe

__all__ = ["LineWatcher", "TerminalWatcher", "outcome_line", "summary", "watcher_for"]

_LINE_EVERY_S = 10.0
_SURE_FRAMES = 50
"""Frames after which the rate tells how long the rest will take; the first ones wait for a batch to fill."""


def outcome_line(outcome: Outcome) -> str:
    """Return one line on what became of a clip."""
    if outcome.state == "failed":
        return safe(f"{outcome.clip.name}: FAILED: {outcome.message}")
    if outcome.state == "skipped":
        return safe(f"{outcome.clip.name}: already complete, skipped")
    line = f"{outcome.clip.name}: {outcome.frames} frames, {outcome.faces} faces, {outcome.people} people in {outcome.seconds:.1f} s"
    return safe(f"{line}; DAMAGED: {outcome.message}" if outcome.state == "damaged" else line)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the last words of a run: how many clips ended how, and each failure with its reason."""
    counts = {
        state: sum(outcome.state == state for outcome in outcomes) for state in ("done", "skipped", "damaged", "failed")
    }
    lines = [f"{len(outcomes)} clips: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)]
    lines += [f"  {outcome_line(outcome)}" for outcome in outcomes if outcome.state in ("damaged", "failed")]
    return "\n".join(lines)


class LineWatcher:
    """Writes a line per clip, and one every ten seconds within a long clip."""

    def __init__(self, clips: int) -> None:
        self._clips, self._done = clips, 0
        self._lock = threading.Lock()
        self._progress: dict[str, tuple[float, float, int, int | None]] = {}
        """Clip name → start, time of the last line, frames so far, frames expected."""

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        """Note the start."""
        now = time.monotonic()
        with self._lock:
            self._progress[clip.name] = (now, now, 0, frames_expected)

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        """Count frames and say how far the clip is from time to time."""
        now = time.monotonic()
        with self._lock:
            start, last, count, expected = self._progress[clip.name]
            count += frames
            due = now - last >= _LINE_EVERY_S
            self._progress[clip.name] = (start, now if due else last, count, expected)
        if due:
            rate = count / (now - start)
            left = (
                f", about {(expected - count) / rate:.0f} s left"
                if expected and expected > count >= _SURE_FRAMES
                else ""
            )
            print(
                f"{safe(clip.name)}: {count}{f' of about {expected}' if expected else ''} frames, {rate:.1f} frames/s{left}",
                flush=True,
            )

    def finished(self, outcome: Outcome) -> None:
        """Say what became of the clip."""
        with self._lock:
            self._done += 1
            self._progress.pop(outcome.clip.name, None)
            print(f"[{self._done}/{self._clips}] {outcome_line(outcome)}", flush=True)

    def __enter__(self) -> LineWatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class TerminalWatcher:
    """Shows a bar for the run and one for each clip at work."""

    def __init__(self, clips: int) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(),
        )
        self._whole = self._progress.add_task("all clips", total=clips, unit="clips", visible=clips > 1)
        self._tasks: dict[str, Any] = {}

    def started(self, clip: Clip, frames_expected: int | None) -> None:
        """Show the clip's bar."""
        if (earlier := self._tasks.pop(clip.name, None)) is not None:
            self._progress.remove_task(earlier)
        self._tasks[clip.name] = self._progress.add_task(safe(clip.name), total=frames_expected, unit="frames")

    def advanced(self, clip: Clip, frames: int, faces: int) -> None:
        """Advance the clip's bar."""
        self._progress.advance(self._tasks[clip.name], frames)

    def finished(self, outcome: Outcome) -> None:
        """Replace the clip's bar by a line."""
        task = self._tasks.pop(outcome.clip.name, None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.advance(self._whole)
        self._progress.console.print(outcome_line(outcome), markup=False, highlight=False)

    def __enter__(self) -> TerminalWatcher:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def watcher_for(clips: int) -> LineWatcher | TerminalWatcher:
    """Return the watcher that suits standard output."""
    return TerminalWatcher(clips) if sys.stdout.isatty() else LineWatcher(clips)
