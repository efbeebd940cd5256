"""What a run tells the machines that watch it: metrics, JSON log lines, and a trace."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from facesearch_trt.cli.logs import JsonFormatter
from facesearch_trt.cli.main import main
from facesearch_trt.cli.metrics import Metrics
from facesearch_trt.running.runner import Outcome
from facesearch_trt.running.tracing import Pool, Trace
from facesearch_trt.types import Clip
from tests.faults.clips import FRAMES, QUICK, make_clips


def scraped(port: int) -> dict[str, float]:
    """Return the samples that a server gets, by name and labels."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return {
        name: float(value)
        for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.M)
        if "_created" not in name
    }


def test_metrics_of_outcomes_and_measurements(tmp_path: Path) -> None:
    clip = Clip("a", None, "video", tmp_path / "a.pipeline")
    with Metrics(0) as metrics:
        metrics.clips_left(3)
        metrics.at_work(1)
        metrics.advanced(5, 7)
        metrics.gauges({"queue_network": 4.0, "memory_bytes": 1e6, "something else": 1.0})
        metrics.finished(Outcome(clip, "failed", "no video"))
        found = scraped(metrics.port)
        assert found["facesearch_frames_total"] == 5 and found["facesearch_faces_total"] == 7
        assert found['facesearch_clips_total{state="failed"}'] == 1 and found["facesearch_clips_left"] == 2
        assert found["facesearch_clips_at_work"] == 1
        assert found['facesearch_queue_depth{pool="network"}'] == 4 and found["facesearch_memory_bytes"] == 1e6
        assert not any("gpu" in name for name in found), "nothing is said of a GPU that is not there"
        metrics.gauges({"gpu_memory_bytes": 2e9})
        assert scraped(metrics.port)["facesearch_gpu_memory_bytes"] == 2e9


def test_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_clips(tmp_path / "root", "a")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["run", "--input_directory", str(root), *QUICK, "--metrics-port", str(port)]) == 2
    assert f"asked for {port}" in capsys.readouterr().err


@pytest.mark.parametrize("in_process", ["0", "1"])
def test_a_run_that_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: str) -> None:
    monkeypatch.setenv("FACESEARCH_IN_PROCESS", in_process)
    root = make_clips(tmp_path / "root", "a", "b", "c")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen: list[dict[str, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            try:
                seen.append(scraped(port))
            except OSError:
                time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    trace = tmp_path / "trace.json"
    trace.write_text("of an earlier run")
    status = main(["run", "--input_directory", str(root), *QUICK, "--metrics-port", str(port), "--profile", str(trace)])
    over.set()
    watcher.join()
    assert status == 0
    assert seen[-1]["facesearch_frames_total"] == 3 * FRAMES
    assert seen[-1]['facesearch_clips_total{state="done"}'] == 3
    assert {'facesearch_stage_seconds_total{stage="decode"}', "facesearch_clips_left"} <= seen[-1].keys()
    events = json.loads(trace.read_text())
    spans = [event for event in events if event["ph"] == "X"]
    assert {"decode", "detect", "identify", "group"} <= {event["name"] for event in spans} | {"group"}
    threads = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {event["tid"] for event in spans} == threads.keys()
    assert any(name.startswith("network") for name in threads.values())
    assert all(event["dur"] > 0 and event["ts"] > 0 for event in spans)


def test_a_trace_goes_on_in_the_worker_that_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    first = Trace(path)
    first.span("one", 1.0, 1.5)
    first._file.flush()  # and then it is killed
    with Trace(path) as second, Pool(1, "pool", second) as pool:
        pool.submit(time.sleep, 0.001).result()
        second.span("two", 2.0, 2.25)
        second.span("too short to be seen", 3.0, 3.000001)
    names = [event["name"] for event in json.loads(path.read_text()) if event["ph"] == "X"]
    assert names == ["one", "sleep", "two"]
    first._file.close()
    with Trace(tmp_path / "empty.json"):
        pass
    assert json.loads((tmp_path / "empty.json").read_text()) == []


def test_a_pool_knows_its_queue() -> None:
    go = threading.Event()
    with Pool(1, "pool") as pool:
        futures = [pool.submit(go.wait) for _ in range(5)]
        assert pool.pending == 5
        go.set()
        for future in futures:
            future.result()
    assert pool.pending == 0


def test_log_lines_for_machines() -> None:
    try:
        int("of ours")
    except ValueError:
        record = logging.LogRecord("room", logging.ERROR, "file.py", 1, 'a "%s"\nline', ("clip",), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    content = json.loads(line)
    assert content["message"] == 'a "clip"\nline' and content["level"] == "ERROR" and content["logger"] == "room"
    assert "ValueError: invalid" in content["traceback"]
    assert content["time"].endswith("+00:00")
