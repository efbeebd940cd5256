"""Several clips decoded at once, from the first moment of a process on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.media import numbered, write_clip

PROGRAM = """
import sys, threading
from pathlib import Path
from facesearch_trt.graph.software import SoftwareSource
from facesearch_trt.types import Clip
sys.setswitchinterval(1e-5)
together = threading.Barrier(6)
def decode(path):
    clip = Clip(path.stem, path, "video", path.with_suffix(".pipeline"))
    together.wait()
    with SoftwareSource(clip, stall_timeout_s=30) as source:
        told = f"{path.stem} {sum(1 for _ in source)} {source.damage}\\n"
        sys.stdout.write(told)
threads = [threading.Thread(target=decode, args=(Path(name),)) for name in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_that_use_gstreamer_for_the_first_time(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"c{index}.mp4", map(numbered, range(8))) for index in range(6)]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *map(str, clips)], capture_output=True, text=True, timeout=120, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert sorted(done.stdout.splitlines()) == [f"c{index} 8 None" for index in range(6)]
