"""``scripts/gpu_check.sh`` on machines of several kinds, with stand-ins for nvidia-smi and Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.sh"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), **environment}
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return subprocess.run(["bash", str(SCRIPT), *arguments], env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def smi(tmp_path: Path) -> str:
    """A PATH with an nvidia-smi."""
    program(tmp_path / "bin" / "nvidia-smi", 'echo "NVIDIA T4, 550.54, 15360 MiB"\n')
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


def test_without_a_driver_it_says_so_plainly(tmp_path: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    result = run(tmp_path)
    assert result.returncode == 2
    assert (
        result.stderr == "gpu_check: no nvidia-smi: this machine has no NVIDIA driver, so nothing can be shown here\n"
    )


def test_wrong_use_shows_the_usage(tmp_path: Path) -> None:
    result = run(tmp_path, "--help")
    assert result.returncode == 2 and "--collect DIR" in result.stderr


def test_every_step_runs_and_the_section_tells_how_each_ended(tmp_path: Path, smi: str) -> None:
    # Fails in the tests only; the benchmark leaves its table.
    python = program(
        tmp_path / "python",
        f'echo "$@" >>{tmp_path}/calls\n'
        """case "$*" in *"-m pytest"*) echo "1 failed"; exit 1;;\n"""
        '*--verify*) echo "TensorRT fp16: 1/1 faces, box IoU 0.99, landmarks within 0.1 px, cosine 0.99999";;\n'
        '*bench_gpu*) while [ "$1" != --output ]; do shift; done; echo "| the table |" >"$2";;\n'
        '-) cat >/dev/null; echo "Python 3.10, tensorrt 8.6.0.";; esac\n',
    )
    output = tmp_path / "section.md"
    result = run(tmp_path, "--quick", "--calibrate", "/videos", "--output", str(output), PYTHON=str(python), PATH=smi)
    assert result.returncode == 1
    calls = (tmp_path / "calls").read_text().splitlines()
    for wanted in (
        "--precision fp32",
        "--precision fp16",
        "--precision int8 --calibrate /videos",
        "-m facesearch_trt doctor --networks --verify",
        "-m gpu",
        "bench_gpu.py",
    ):
        assert sum(wanted in call for call in calls) >= 1, calls
    text = output.read_text()
    assert "NVIDIA T4, 550.54, 15360 MiB" in text and "tensorrt 8.6.0" in text
    assert "| tests on the GPU | FAILED |" in text and text.count("| passed |") == 5
    assert "- TensorRT fp16: 1/1 faces" in text and "| the table |" in text


def test_the_folder_stands_for_the_network(tmp_path: Path, smi: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kernels-abc.fatbin").write_bytes(b"code")
    (folder / "some-1.0-py3-none-any.whl").write_bytes(b"wheel")
    python = program(tmp_path / "python", f'echo "$FACESEARCH_MODELS|$PYTHONPATH|$*" >>{tmp_path}/calls\n')
    result = run(tmp_path, "--folder", str(folder), PYTHON=str(python), PATH=smi)
    assert result.returncode == 0, result.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].endswith(
        f"-m zipfile -e {folder}/some-1.0-py3-none-any.whl {tmp_path}/tmp/facesearch-gpu-check/site"
    )
    assert all(call.startswith(str(folder)) and "/facesearch-gpu-check/site" in call.split("|")[1] for call in calls)
    assert (tmp_path / "tmp" / "facesearch-gpu-check" / "engines" / "kernels-abc.fatbin").read_bytes() == b"code"


def test_a_damaged_pack_is_refused(tmp_path: Path, smi: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "c00").write_bytes(b"half")
    (folder / "SHA").write_text(f"{'0' * 64}  c00\n")
    result = run(tmp_path, "--folder", str(folder), PATH=smi)
    assert result.returncode == 2 and "are damaged" in result.stderr


def test_without_tensorrt_it_says_how_to_get_it(tmp_path: Path, smi: str) -> None:
    python = program(tmp_path / "python", """case "$*" in *"import tensorrt"*) exit 1;; esac\n""")
    result = run(tmp_path, PYTHON=str(python), PATH=smi)
    assert result.returncode == 2
    assert f"{python} -m pip install tensorrt-cu12 pycuda" in result.stderr
