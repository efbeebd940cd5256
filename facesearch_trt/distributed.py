"""Clips over a Ray cluster. The only module that imports ray.

Ray decides what runs where: every clip is a task that asks for a share of a GPU, or for cores where the cluster has no GPU. What the
task does is in :mod:`.cluster_worker`. What is left to do here is to say how often a clip is tried, and to gather the progress.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from .cluster_worker import Board, do_clip, prepare
from .config import Options, options_as_dict
from .errors import (
    BackendError,
    BusyError,
    ClipError,
    FaceSearchError,
    ModelError,
    UsageError,
    WorkerError,
    pip_install,
)
from .running.isolated import Order
from .running.runner import DEATHS, Outcome, Watcher, largest_first, settled
from .store.clip import ClipStore
from .types import Clip

__all__ = ["Cluster"]

_log = logging.getLogger(__name__)

_LOST = 5
"""Machines that may be lost under a clip before it fails: their loss is not its fault, but there has to be an end."""
_POLL_S = 0.5
_BUSY_WAIT_S = 2.0
_MOST_CPUS = 4
"""Cores of a worker on a machine without a GPU: one clip's chain keeps about so many busy."""


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BackendError(
            "--ray needs Ray, which is not installed",
            remedy=f"Install it: {pip_install('facesearch_trt[ray]')}",
        ) from error
    return ray


@dataclass(slots=True)
class _Task:
    clip: Clip
    number: int
    deaths: int = 0
    lost: int = 0
    not_before_s: float = field(default=0.0)


class Cluster:
    """A Ray cluster that does clips; a context manager that lets go of it.

    Parameters
    ----------
    address: ``auto`` for the cluster that this machine belongs to, ``local`` to start one here, or ``host:port``.
    order: what to do with every clip.

    Raises BackendError where Ray is missing or the cluster cannot be reached.
    """

    def __init__(self, address: str, order: Order) -> None:
        self._ray = ray = _ray()
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        options |= {"include_dashboard": False} if address == "local" else {"address": address}
        # Ray reports its use to its makers unless told not to; nothing leaves this machine that a user did not ask for.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ours = not ray.is_initialized()
        try:
            if self._ours:
                ray.init(**options)
            machines = [machine for machine in ray.nodes() if machine["Alive"]]
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BackendError(
                "the Ray cluster cannot be reached",
                asked=address,
                found=error,
                remedy="Start it with `ray start --head`, or use --ray local.",
            ) from error
        self._wanted = _wanted(order.options, machines)
        cpus = int(self._wanted["num_cpus"])
        # A worker does one clip at a time; how many there are is for Ray to say.
        self._order = replace(order, options=replace(order.options, threads=order.options.threads or max(1, cpus)))
        self._gpu_kinds = sorted({kind for machine in machines for kind in machine["Resources"] if _is_gpu_kind(kind)})

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            self._ray.shutdown()

    def run(self, clips: Sequence[Clip], watcher: Watcher) -> list[Outcome]:
        """Do all clips, the largest first, and return their outcomes in the clips' order.

        A clip that killed ``DEATHS`` workers, and one under which ``_LOST`` machines were lost, fails. Raises what would meet every
        clip, as ``run_clips`` does.
        """
        if self._wanted["num_gpus"]:
            self._build_engines()
        here = self._ray.get_runtime_context().get_node_id()
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        board = self._ray.remote(Board).options(num_cpus=0, scheduling_strategy=strategy).remote()
        return _Run(self._ray, self._order, self._wanted, board, clips, watcher).go()

    def _build_engines(self) -> None:
        """Have each kind of GPU build its engines once, on one machine of that kind, if they are not there yet."""
        task = self._ray.remote(prepare)
        share = {"num_gpus": self._wanted["num_gpus"], "max_retries": 2}
        options = options_as_dict(self._order.options)
        kinds: list[str | None] = list(self._gpu_kinds) or [None]
        builds = {
            kind: task.options(**share, resources={kind: 0.001} if kind else None).remote(options) for kind in kinds
        }
        for kind, build in builds.items():
            status, words = self._ray.get(build)
            if status != 0:
                raise BackendError("the engines cannot be built", where=kind or "GPU", found=words)


def _is_gpu_kind(resource: str) -> bool:
    return resource.startswith("accelerator_type:")


def _wanted(options: Options, machines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what a clip's task asks Ray for."""
    on_gpu = options.backend != "onnxruntime" and any(machine["Resources"].get("GPU") for machine in machines)
    if on_gpu:
        # Other results than a CPU's in their last digits, so that machines without a GPU take no clip of such a cluster.
        return {"num_gpus": options.ray_gpu_share, "num_cpus": options.ray_cpus or 2}
    cores = [int(machine["Resources"].get("CPU", 0)) for machine in machines]
    return {"num_gpus": 0, "num_cpus": options.ray_cpus or max(1, min([_MOST_CPUS, *(n for n in cores if n)]))}


class _Run:
    """One run over a cluster."""

    def __init__(
        self, ray: Any, order: Order, wanted: dict[str, float], board: Any, clips: Sequence[Clip], watcher: Watcher
    ) -> None:
        self._ray = ray
        self._board = board
        self._order = ray.put(order)
        # How often a clip is tried is counted here, where a dead worker can be told from a lost machine.
        self._remote = ray.remote(do_clip).options(max_retries=0, **wanted)
        self._clips = clips
        self._watcher = watcher
        self._outcomes: dict[int, Outcome] = {}
        self._running: dict[Any, _Task] = {}
        self._later: list[_Task] = []

    def go(self) -> list[Outcome]:
        numbers = {clip.name: number for number, clip in enumerate(self._clips)}
        for clip in largest_first(self._clips):
            self._submit(_Task(clip, numbers[clip.name]))
        try:
            while self._running or self._later:
                self._step()
        finally:
            for reference in self._running:
                with suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(reference)
        return [self._outcomes[number] for number in range(len(self._clips))]

    def _submit(self, task: _Task) -> None:
        self._running[self._remote.remote(self._order, task.clip, task.number, self._board)] = task

    def _step(self) -> None:
        now_s = time.monotonic()
        due = [task for task in self._later if task.not_before_s <= now_s]
        self._later = [task for task in self._later if task.not_before_s > now_s]
        for task in due:
            self._submit(task)
        finished: list[Any] = []
        if self._running:
            finished, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_POLL_S)
        else:
            time.sleep(_POLL_S)
        self._show()
        for reference in finished:
            self._note(self._running.pop(reference), reference)

    def _show(self) -> None:
        """Pass on what the workers told."""
        events: list[tuple[Any, ...]] = []
        with suppress(self._ray.exceptions.RayError):
            events = self._ray.get(self._board.take.remote())
        for kind, number, *values in events:
            # Of a clip that is finished nothing more is to be said.
            if number not in self._outcomes:
                tell: Callable[..., None] = self._watcher.started if kind == "started" else self._watcher.advanced
                tell(self._clips[number], *values)

    def _note(self, task: _Task, reference: Any) -> None:
        errors = self._ray.exceptions
        result: Outcome | FaceSearchError
        try:
            result = self._ray.get(reference)
        except (errors.NodeDiedError, errors.RaySystemError, errors.ObjectLostError) as error:
            self._again(task, f"its machine was lost ({_first_line(error)})", lost=True)
            return
        except (errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            where = task.clip.source or task.clip.output
            result = WorkerError("the process that worked on it died", where=where, found=_first_line(error))
        except errors.RayTaskError as error:  # a fault of ours
            _log.error("%s: internal error: %s", task.clip.name, error)
            result = Outcome(task.clip, "failed", f"internal error: {error.cause!r}")
        if isinstance(result, BusyError):
            task.not_before_s = time.monotonic() + _BUSY_WAIT_S
            self._later.append(task)
        elif isinstance(result, WorkerError):
            task.deaths += 1
            if task.deaths < DEATHS:
                self._again(task, str(result))
                return
            with suppress(FaceSearchError):
                ClipStore(task.clip.output).tidy()
            self._finish(task, settled(task.clip, result))
        elif isinstance(result, (ModelError, BackendError, UsageError)):
            raise result
        else:
            self._finish(task, result if isinstance(result, Outcome) else Outcome(task.clip, "failed", str(result)))

    def _again(self, task: _Task, why: str, *, lost: bool = False) -> None:
        task.lost += lost
        if task.lost >= _LOST:
            error = ClipError("given up", where=task.clip.name, found=f"{_LOST} machines were lost while they did it")
            self._finish(task, Outcome(task.clip, "failed", str(error)))
            return
        _log.warning("%s: %s; it is done again", task.clip.name, why)
        self._submit(task)

    def _finish(self, task: _Task, outcome: Outcome) -> None:
        self._outcomes[task.number] = outcome
        self._watcher.finished(outcome)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
