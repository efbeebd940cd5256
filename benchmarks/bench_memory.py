#!/usr/bin/env python3
"""Whether memory stays flat: peak RSS of the single pass on a clip and on the same clip ten times over.

    python benchmarks/bench_memory.py CLIP [--times 10] [--pack open]

Each run is a process of its own, with ``--frames none``. Needs an H.264 encoder (gstreamer1.0-plugins-bad) to lengthen the clip.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from facesearch_trt.graph.encode import write_video

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("clip", type=Path)
parser.add_argument("--times", type=int, default=10)
parser.add_argument("--pack", default="open")
args = parser.parse_args()


def pictures(times: int) -> Iterator[Any]:
    for _ in range(times):
        capture = cv2.VideoCapture(str(args.clip))
        while (read := capture.read())[0]:
            yield read[1]


PROGRAM = """
import resource, sys
from facesearch_trt.cli.main import main
status = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(status)
"""

peaks = []
with tempfile.TemporaryDirectory() as directory:
    for times in (1, args.times):
        clip = Path(directory) / f"times_{times}.mp4"
        write_video(clip, pictures(times), 30)
        command = [
            "run",
            "--input_directory",
            str(clip),
            "--frames",
            "none",
            "--no-report",
            "--no-isolate",
            "--pack",
            args.pack,
        ]
        done = subprocess.run([sys.executable, "-c", PROGRAM, *command], capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        peaks.append(int(lines[-1].split()[1]))
        print(f"{times:3d} times: peak RSS {peaks[-1]} MB; {lines[-3]}", flush=True)
print(f"ratio {peaks[1] / peaks[0]:.3f}")
