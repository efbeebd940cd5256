"""How many cores this process may keep busy: those it may run on, and of their time what its container was given."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["usable_cores"]

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_CONTROLLER = "cpu"


def usable_cores(mount: Path = _MOUNT, own: Path = _OWN) -> int:
    """Return how many threads can compute at once, at least 1.

    A container's limit (``docker run --cpus``, a Kubernetes limit) takes no core away, it stops all threads for the rest of each period
    once they have used up their time; so a thread per core of a large machine would mostly wait. A part of a core counts as one.

    Parameters
    ----------
    mount: where the control groups are (cgroups(7), version 1 or 2).
    own: the file that says which of them this process is in.
    """
    cores = len(os.sched_getaffinity(0))
    for directory in _groups(mount, own):
        with contextlib.suppress(OSError, ValueError):
            cores = min(cores, max(1, math.ceil(_quota(directory))))
    return cores


def _groups(mount: Path, own: Path) -> Iterator[Path]:
    """Yield the directories of this process's groups and of those around them: the narrowest limit holds.

    A container may see its own group as the root of the mount, whatever its name outside.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and _CONTROLLER not in controllers.split(","):
            continue
        root = mount / (controllers and _CONTROLLER)
        inside = PurePosixPath(path).relative_to("/")
        yield from (root / part for part in (inside, *inside.parents))


def _quota(directory: Path) -> float:
    """Return a group's share of time, cores. Raises OSError or ValueError where it has no limit."""
    with contextlib.suppress(FileNotFoundError):
        quota, period = (directory / "cpu.max").read_text(encoding="ascii").split()
        return _share(quota, period)
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return _share(*((directory / name).read_text(encoding="ascii") for name in names))


def _share(quota: str, period: str) -> float:
    if int(quota) <= 0 or int(period) <= 0:  # -1: no limit; "max" is no number
        raise ValueError
    return int(quota) / int(period)
