"""What the last run could not do, also where several runs end at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from facesearch_trt.config import Options
from facesearch_trt.last_run import last_run, save_last_run
from facesearch_trt.report.html import write_report
from facesearch_trt.running.runner import Outcome
from facesearch_trt.types import Clip


def test_runs_that_end_together(tmp_path: Path) -> None:
    clip = Clip("a", tmp_path / "a.mp4", "video", tmp_path / "a.pipeline")

    def end(_: int) -> None:
        for _ in range(20):
            save_last_run(tmp_path, [Outcome(clip, "failed", "why")], Options())
            write_report(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(end, range(4)))
    assert last_run(tmp_path) == {"a": "why"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_run.json", "report.html"]
