#!/usr/bin/env python3
"""Many clips in one ROOT, and long runs: what a clip costs beyond its frames, and whether memory, threads and open files stay flat.

    python benchmarks/bench_many.py clips WORK [--clips 2000] [--output FILE.json]
    python benchmarks/bench_many.py soak WORK --source VIDEO [--hours 1] [--clips 300] [--output FILE.json]

``clips``: so many clips of two small frames each, through ``facesearch run`` as a user starts it. Start-up is the time to the first finished
clip. The cost of a clip beyond its frames is the time between finished clips, less that of two frames, which one long clip of the same
frames tells. ``soak``: one clip that lasts hours, of every second of which one frame is used, then many short ones by one process; all
show VIDEO's pictures at 320 by 180.

Of the process that works, resident memory, threads, open files and processor time are read from /proc as clips finish, or every few
seconds. "Growth" is the last reading over that after the first tenth. Wall times are worth something on a quiet machine only; processor
seconds are told beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facesearch_trt.graph.encode import write_video

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("what", choices=("clips", "soak"))
parser.add_argument("work", type=Path, help="empty directory")
parser.add_argument("--clips", type=int)
parser.add_argument("--hours", type=float, default=1.0)
parser.add_argument("--source", type=Path, help="video with faces")
parser.add_argument("--output", type=Path)

_TICKS = os.sysconf("SC_CLK_TCK")
_FINISHED = re.compile(r"\[(\d+)/\d+\] ")


@dataclass(frozen=True)
class Reading:
    """The working process at one moment."""

    at_s: float
    clips: int
    rss_mb: float
    threads: int
    files: int
    cpu_s: float


def read(process: int, start: float, clips: int) -> Reading:
    """Read /proc; see proc(5)."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":\t" in line
    )
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
    rss_mb = int(status["VmRSS"].split()[0]) / 1024
    files = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    return Reading(round(time.monotonic() - start, 2), clips, round(rss_mb, 1), int(status["Threads"]), files, cpu_s)


def child_of(process: int) -> int | None:
    """Return the process that works for the one that was started."""
    for task in Path(f"/proc/{process}/task").iterdir():
        if words := (task / "children").read_text().split():
            return int(words[0])
    return None


class Watched:
    """A run of the program, read every few clips and every few seconds."""

    def __init__(self, root: Path, *options: str, every_clips: int = 1, every_s: float = 1e9) -> None:
        command = [
            sys.executable,
            "-m",
            "facesearch_trt",
            "run",
            "--input_directory",
            str(root),
            "--frames",
            "none",
            *options,
        ]
        self.readings: list[Reading] = []
        self.first_s = 0.0
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        clips = 0
        over = threading.Event()

        def note() -> None:
            if (worker := child_of(process.pid)) is not None:
                self.readings.append(read(worker, start, clips))

        def now_and_then() -> None:
            while not over.wait(every_s):
                note()

        threading.Thread(target=now_and_then, daemon=True).start()
        assert process.stdout is not None
        for line in process.stdout:
            if (found := _FINISHED.match(line)) is None:
                continue
            clips = int(found[1])
            self.first_s = self.first_s or time.monotonic() - start
            if clips % every_clips == 0 and every_s > 1e8:
                note()
        over.set()
        self.status = process.wait()
        self.seconds = time.monotonic() - start

    def summary(self) -> dict[str, Any]:
        """Return what the readings say."""
        early, last = self.readings[max(1, len(self.readings) // 10)], self.readings[-1]
        return {
            "exit_status": self.status,
            "first_clip_s": round(self.first_s, 2),
            "seconds": round(self.seconds, 1),
            "rss_mb_after_a_tenth": early.rss_mb,
            "rss_mb_at_the_end": last.rss_mb,
            "rss_growth": round(last.rss_mb / early.rss_mb, 3),
            "threads": [early.threads, max(one.threads for one in self.readings), last.threads],
            "files": [early.files, max(one.files for one in self.readings), last.files],
            "readings": [asdict(one) for one in self.readings[:: max(1, len(self.readings) // 20)]],
        }


def tiny() -> Iterator[Any]:
    """Yield small pictures without faces."""
    noise = np.random.default_rng(0)
    pictures = [cv2.resize(noise.integers(0, 255, (6, 8, 3), np.uint8), (128, 96)) for _ in range(50)]
    yield from itertools.cycle(pictures)


def many(work: Path, count: int) -> dict[str, Any]:
    """Measure clips of two frames, and one clip of as many."""
    small = ("--detector-size", "64")
    root, one = work / "many", work / "one"
    root.mkdir(parents=True)
    one.mkdir()
    for index in range(10):
        write_video(root / f"clip{index:05d}.mp4", itertools.islice(tiny(), index, index + 2), 25)
    for index in range(10, count):
        # Copies: each has a time of its own and its own results.
        shutil.copyfile(root / f"clip{index % 10:05d}.mp4", root / f"clip{index:05d}.mp4")
    write_video(one / "long.mp4", itertools.islice(tiny(), 4000), 25)
    long = Watched(one, *small, every_s=0.25)
    record = json.loads((one / "long.pipeline" / "run.json").read_text())
    frame_s = sum(record["seconds"].values()) / record["counts"]["frames"]
    frame_cpu_s = (long.readings[-1].cpu_s - long.readings[len(long.readings) // 4].cpu_s) / (
        (long.readings[-1].at_s - long.readings[len(long.readings) // 4].at_s) / frame_s
    )
    run = Watched(root, *small, every_clips=max(1, count // 100))
    warm, last = run.readings[len(run.readings) // 10], run.readings[-1]
    clips = last.clips - warm.clips
    again = Watched(root, *small)
    return {
        "clips": count,
        "frame_ms": round(1e3 * frame_s, 2),
        "clip_beyond_frames_ms": round(1e3 * ((last.at_s - warm.at_s) / clips - 2 * frame_s), 1),
        "clip_beyond_frames_cpu_ms": round(1e3 * ((last.cpu_s - warm.cpu_s) / clips - 2 * frame_cpu_s), 1),
        "all_skipped_s": round(again.seconds, 1),
        "load": os.getloadavg(),
        **run.summary(),
    }


def pictures_of(source: Path) -> list[Any]:
    """Return a video's pictures, small."""
    capture = cv2.VideoCapture(str(source))
    found = []
    while (picture := capture.read())[0]:
        found.append(cv2.resize(picture[1], (320, 180), interpolation=cv2.INTER_AREA))
    return found


def soak(work: Path, source: Path, hours: float, count: int) -> dict[str, Any]:
    """Measure one long clip and many short ones."""
    shown = pictures_of(source)
    long, short = work / "long", work / "short"
    long.mkdir(parents=True)
    short.mkdir()
    write_video(long / "long.mp4", itertools.islice(itertools.cycle(shown), int(hours * 3600 * 25)), 25)
    for index in range(count):
        start = index * 7 % len(shown)
        write_video(short / f"clip{index:04d}.mp4", itertools.islice(itertools.cycle(shown), start, start + 10), 25)
    options = ("--detector-size", "320")
    one = Watched(long, *options, "--every", "25", every_s=2).summary()
    several = Watched(short, *options, "--every", "2", every_clips=max(1, count // 100)).summary()
    return {"one_clip": {"hours": hours, **one}, "many_clips": {"clips": count, **several}, "load": os.getloadavg()}


def main() -> None:
    """Measure and write."""
    args = parser.parse_args()
    if args.what == "clips":
        result = many(args.work, args.clips or 2000)
    else:
        if args.source is None:
            parser.error("soak needs --source")
        result = soak(args.work, args.source, args.hours, args.clips or 300)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
