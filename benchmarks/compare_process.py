"""A process of compare.py: its wall time, and the peak memory of it and of those that it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """A process that ended."""

    status: int
    seconds: float
    peak_mb: float
    out: str
    err: str

    def reason(self) -> str:
        """Return the last line that it left, which says why it failed."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}"


def alive(process: int) -> dict[int, float]:
    """Return the processes of a tree that live, with VmHWM in MB; see proc(5)."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = [
            int(word)
            for task in Path(f"/proc/{process}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return {}
    peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), "0")
    found = {process: int(peak) / 1024}
    for child in children:
        found |= alive(child)
    return found


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> Ran:
    """Run a process to its end and watch its memory."""
    peak, over = 0.0, threading.Event()

    def watch(process: int) -> None:
        nonlocal peak
        before: set[int] = {process}
        while not over.wait(0.1):
            now = alive(process)
            peak = max(peak, sum(mb for one, mb in now.items() if one in before))
            before = {process, *now}

    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    watcher = threading.Thread(target=watch, args=(process.pid,))
    watcher.start()
    out, err = process.communicate()
    seconds = time.perf_counter() - start
    over.set()
    watcher.join()
    return Ran(process.returncode, seconds, peak, out, err)
