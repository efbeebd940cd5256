#!/usr/bin/env python3
"""Many clips on a Ray cluster of which one machine is lost in mid-run: all have to complete, with a single machine's tables.

    python benchmarks/bench_cluster.py WORK [--clips 40] [--length 24] [--source VIDEO] [--keep-machines] [RUN OPTION …]

Two Ray nodes on this machine, one core each; when a quarter of the clips is done, one node's processes are killed with SIGKILL. The same
clips are done by one process too, and everything but times is compared byte by byte. Every commit of a clip is watched for, so that one
which is done twice is seen. Exit status 0: all as it must be. Options that are not known here are those of ``facesearch run``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facesearch_trt.cli.main import main
from facesearch_trt.graph.encode import write_video

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("work", type=Path, help="empty directory")
parser.add_argument("--clips", type=int, default=40)
parser.add_argument("--length", type=int, default=24, help="frames of each clip")
parser.add_argument("--source", type=Path, help="video that the clips are cut from; without it they show noise")
parser.add_argument("--keep-machines", action="store_true", help="lose none")


def pictures(source: Path | None, clip: int, frames: int) -> Iterator[Any]:
    """Yield the pictures of a clip."""
    if source is None:
        noise = np.random.default_rng(clip)
        yield from (noise.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(frames))
        return
    capture = cv2.VideoCapture(str(source))
    capture.set(cv2.CAP_PROP_POS_FRAMES, clip * 7 % max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - frames))
    for _ in range(frames):
        yield capture.read()[1]


def results(root: Path) -> dict[str, object]:
    """Return all results by path, without times."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.name == "run.json":
            record = json.loads(path.read_text())
            record.pop("seconds")
            found[name] = record
        elif path.is_file() and (".pipeline/" in name or path.name == "people.csv"):
            found[name] = path.read_bytes()
    return found


class Commits:
    """Watches the records of all clips: how often each was complete anew."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.seen: dict[str, set[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for path in self._root.glob("*.pipeline/run.json"):
                with contextlib.suppress(OSError, ValueError):
                    stamp = path.stat().st_mtime_ns
                    if len(json.loads(path.read_text())["steps"]) == 4:
                        self.seen.setdefault(path.parent.name, set()).add(stamp)

    def stop(self) -> dict[str, set[int]]:
        """Return what was seen."""
        time.sleep(0.1)
        self._stop.set()
        self._thread.join()
        return self.seen


def on_cluster(root: Path, clips: int, lose: bool, options: list[str]) -> tuple[int, str, dict[str, set[int]], float]:
    """Run on two nodes; return the exit status, what was said, the commits, and the seconds."""
    from ray.cluster_utils import Cluster

    node = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node})
    nodes = [cluster.add_node(num_cpus=1, **node) for _ in range(2)]
    cluster.wait_for_nodes()
    commits = Commits(root)

    def kill() -> None:
        while len(commits.seen) < clips // 4:
            time.sleep(0.02)
        print(f"killing one node; {len(commits.seen)} clips are done", file=sys.stderr, flush=True)
        cluster.remove_node(nodes[0], allow_graceful=False)

    if lose:
        threading.Thread(target=kill, daemon=True).start()
    said = io.StringIO()
    start = time.monotonic()
    try:
        with contextlib.redirect_stdout(said):
            status = main(["run", "--input_directory", str(root), "--ray", cluster.address, *options])
    finally:
        seconds = time.monotonic() - start
        seen = commits.stop()
        cluster.shutdown()
    return status, said.getvalue(), seen, seconds


def run() -> int:
    """Make clips, run twice, compare; return the exit status."""
    args, options = parser.parse_known_args()
    one, many = args.work / "one", args.work / "many"
    for root in (one, many):
        root.mkdir(parents=True)
    for clip in range(args.clips):
        name = f"clip{clip:04d}.mp4"
        write_video(one / name, pictures(args.source, clip, args.length), 25)
        (many / name).hardlink_to(one / name)
    start = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["run", "--input_directory", str(one), *options]) == 0
    print(f"one process: {time.monotonic() - start:.1f} s", flush=True)
    status, said, seen, seconds = on_cluster(many, args.clips, not args.keep_machines, options)
    print(said)
    print(f"two nodes{'' if args.keep_machines else ', one lost in mid-run'}: {seconds:.1f} s, exit status {status}")
    wanted, found = results(one), results(many)
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    twice = sorted(name for name, stamps in seen.items() if len(stamps) != 1)
    print(f"{len(wanted)} files compared, different: {different or 'none'}")
    print(f"{len(seen)} clips committed, more than once: {twice or 'none'}")
    return int(bool(status or different or twice or len(seen) != args.clips))


if __name__ == "__main__":
    sys.exit(run())
