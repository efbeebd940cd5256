"""Works through the clips of a directory: in this process, in one apart, or on a cluster; then who is who over all of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Options
from ..distributed import Cluster
from ..graph.inputs import absolute_path, find_clips
from ..last_run import save_last_run
from ..people.gallery import enrol
from ..people.update import PeopleSummary, update_people
from ..report.html import REPORT_FILE
from ..running.cores import usable_cores
from ..running.isolated import Isolated, Order
from ..running.runner import Job, Outcome, choose_at_once, exit_status, run_clips
from ..running.sharing import shard_of
from ..store.clip import ClipStore
from ..types import Clip
from ..wiring import Tools
from .metrics import MeasuredWatcher, Metrics
from .people import people_line
from .progress import LineWatcher, TerminalWatcher, summary, watcher_for
from .report import report_line

__all__ = ["IN_PROCESS", "Work", "work_through"]

IN_PROCESS = "FACESEARCH_IN_PROCESS"
"""With this in the environment set to 1 the work is done in this process, as with --no-isolate."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    root: Path
    """Directory of clips, or what else stands for clips; see ``find_clips``."""
    options: Options
    command: str = "run"
    gallery: Path | None = None
    """People who are known by name."""
    shard: tuple[int, int] | None = None
    ray: str | None = None
    """Address of a cluster."""
    metrics_port: int | None = None
    profile: Path | None = None


def work_through(work: Work) -> int:
    """Run one sub-command over all clips of a directory, showing progress and a summary; return the exit status.

    The whole job and step 4 end with who is who over all clips, if it is a directory of clips and all of them are this process's.
    """
    # Clips know where they are by this path, so that it can be compared with theirs.
    work = replace(work, root=absolute_path(work.root))
    with ExitStack() as stack:
        metrics = None if work.metrics_port is None else stack.enter_context(Metrics(work.metrics_port))
        clips, outcomes = _clips(work, metrics)
        print(summary(outcomes), flush=True)
        status = exit_status(outcomes)
        if work.command not in ("run", "identity") or any(clip.output.parent != work.root for clip in clips):
            return status
        if work.shard is not None:
            print(f"when all shares are done: facesearch people {work.root}", flush=True)
            return status
        people = _people(work)
        if damaged := _damaged(work, outcomes, people):
            # Found only now, when the results of a clip that was finished before are read.
            again = _do(work, damaged, metrics)
            print(summary(again), flush=True)
            status = max(status, exit_status(again))
            redone = {outcome.clip.name: outcome for outcome in again}
            outcomes = [redone.get(outcome.clip.name, outcome) for outcome in outcomes]
            people = _people(work)
        if people.clips:
            print(people_line(people), flush=True)
        for clip, reason in people.failed:
            print(f"  {clip}: not among all clips' people: {reason}")
        save_last_run(work.root, outcomes, work.options)
        changed = people.changed or any(outcome.state != "skipped" for outcome in outcomes)
        if work.options.report and (changed or not (work.root / REPORT_FILE).exists()):
            print(report_line(work.root), flush=True)
        return max(status, int(bool(people.failed)))


def _clips(work: Work, metrics: Metrics | None) -> tuple[list[Clip], list[Outcome]]:
    with _worker(work, metrics) as worker:
        # What a camera left can be worked on from what is stored, except by step 1.
        clips = found = find_clips(work.root, results_alone=work.command != "frames")
        if work.shard is not None:
            clips = shard_of(found, *work.shard)
            print(f"share {work.shard[0]} of {work.shard[1]}: {len(clips)} of {len(found)} clips", flush=True)
        return clips, worker.go(clips)


def _do(work: Work, clips: Sequence[Clip], metrics: Metrics | None) -> list[Outcome]:
    with _worker(work, metrics) as worker:
        return worker.go(clips)


def _worker(work: Work, metrics: Metrics | None) -> _Worker:
    worker = _Worker(work, metrics)
    try:
        worker.start()
    except BaseException:
        worker.close()
        raise
    return worker


class _Worker:
    """What does clips, made ready before it is known which."""

    def __init__(self, work: Work, metrics: Metrics | None) -> None:
        self._work, self._metrics = work, metrics
        self._stack = ExitStack()
        self._job: Job | None = None
        self._cluster: Cluster | None = None

    def start(self) -> None:
        work, metrics = self._work, self._metrics
        gauges = None if metrics is None else metrics.gauges
        profile = str(work.profile) if work.profile else None
        order = Order(work.options, work.command, logging.getLogger().level, profile)
        if work.ray is not None:
            self._cluster = self._stack.enter_context(Cluster(work.ray, order))
        elif work.options.isolate and os.environ.get(IN_PROCESS) != "1":
            isolated = self._stack.enter_context(Isolated(order, gauges=gauges))
            isolated.start()
            self._job = isolated.job
        else:
            self._job = self._in_process()

    def _in_process(self) -> Job:
        from ..steps import JOBS

        work = self._work
        tools = self._stack.enter_context(Tools(work.options, profile=work.profile))
        if self._metrics is not None:
            self._metrics.measure(tools.gauges)
        return lambda clip, watcher: JOBS[work.command](clip, tools, watcher)

    def go(self, clips: Sequence[Clip]) -> list[Outcome]:
        shown = watcher_for(len(clips))
        watcher: LineWatcher | TerminalWatcher | MeasuredWatcher = shown
        if self._metrics is not None:
            self._metrics.clips_left(len(clips))
            watcher = MeasuredWatcher(shown, self._metrics)
        with watcher:
            if self._cluster is not None:
                return self._cluster.run(clips, watcher)
            assert self._job is not None
            at_once = choose_at_once(self._work.options.clips_at_once, usable_cores())
            return run_clips(clips, self._job, watcher, at_once=at_once)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _people(work: Work) -> PeopleSummary:
    with Tools(work.options) as tools:
        if work.gallery is not None:
            enrol(work.gallery, tools, work.root)
        # Step 4 takes the embeddings that step 3 made, whatever its own options would have made.
        embedder = tools.embedder_entry.name if work.command == "run" else None
        return update_people(work.root, *tools.similarities, embedder)


def _damaged(work: Work, outcomes: Sequence[Outcome], people: PeopleSummary) -> list[Clip]:
    """Return the clips that count as done but cannot be read, made undone; those whose source is gone stay as they are."""
    if work.command != "run":
        return []
    reasons = dict(people.failed)
    clips = [
        outcome.clip
        for outcome in outcomes
        if outcome.clip.name in reasons and outcome.clip.source is not None and outcome.state != "failed"
    ]
    for clip in clips:
        _log.warning("%s: its results are damaged, so it is done again (%s)", clip.name, reasons[clip.name])
        ClipStore(clip.output).distrust()
    return clips
