"""A Ray cluster: a machine that is lost, a clip that kills its workers, and the same results as one process gives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch_trt.cli.main import main
from facesearch_trt.config import Options
from facesearch_trt.distributed import _wanted

from .faults.clips import QUICK, make_clips, results

REPOSITORY = Path(__file__).parents[1]

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'facesearch_trt[ray]'"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_DEDUP_LOGS": "0"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@needs_ray
def test_a_machine_is_lost_in_mid_run(tmp_path: Path) -> None:
    done = run("benchmarks/bench_cluster.py", str(tmp_path / "work"), "--clips", "8", "--length", "8", *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killing one node" in done.stderr
    assert "different: none" in done.stdout
    assert "8 clips committed, more than once: none" in done.stdout


@needs_ray
def test_a_clip_that_kills_its_workers_is_put_aside(tmp_path: Path) -> None:
    root = make_clips(tmp_path / "root", "a", "b", "crash", "once")
    # fmt: off
    program = (
        "import sys; from facesearch_trt.running import isolated; isolated.WORKER = 'tests.faults.worker';"
        "from facesearch_trt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    # fmt: on
    done = run("-c", program, "run", "--input_directory", str(root), "--ray", "local", "--ray-cpus", "1", *QUICK)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "4 clips: 3 done, 1 failed" in done.stdout
    assert "crash: FAILED: put aside after it ended 2 workers" in done.stdout and "SIGSEGV" in done.stdout
    assert not (root / "crash.pipeline").exists()
    found = results(root)
    for name in ("crash.mp4", "once.died"):
        (root / name).unlink()
    assert main(["run", "--input_directory", str(root), "--force", *QUICK]) == 0
    assert results(root) == found


@needs_ray
def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    root = make_clips(tmp_path / "root", "a")
    done = run("-m", "facesearch_trt", "run", "--input_directory", str(root), "--ray", "auto", *QUICK)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("facesearch: ")]
    assert "the Ray cluster cannot be reached" in line and "ray start --head" in line


def test_ray_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["run", "--input_directory", str(make_clips(tmp_path / "root", "a")), "--ray", "auto"]) == 1
    assert "[ray]'" in capsys.readouterr().err


def test_what_a_clip_asks_for() -> None:
    cpu = {"Resources": {"CPU": 16.0}}
    small = {"Resources": {"CPU": 2.0}}
    gpu = {"Resources": {"CPU": 8.0, "GPU": 2.0}}
    head = {"Resources": {}}
    assert _wanted(Options(), [cpu, head]) == {"num_gpus": 0, "num_cpus": 4}
    assert _wanted(Options(), [cpu, small]) == {"num_gpus": 0, "num_cpus": 2}
    assert _wanted(Options(ray_cpus=1), [cpu]) == {"num_gpus": 0, "num_cpus": 1}
    assert _wanted(Options(ray_gpu_share=0.5), [cpu, gpu]) == {"num_gpus": 0.5, "num_cpus": 2}
    assert _wanted(Options(backend="onnxruntime"), [gpu]) == {"num_gpus": 0, "num_cpus": 4}
