"""A Python that has not the packages: the checkout's own environment goes on, or the remedy is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch_trt.errors import pip_install

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout's program, without an environment."""
    shutil.copytree(
        CHECKOUT / "facesearch_trt", tmp_path / "facesearch_trt", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
    shutil.copy2(CHECKOUT / "run_pipeline.py", tmp_path)
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FACESEARCH"))}
    # Without its packages, as a system's Python is.
    command = [sys.executable, "-S", "run_pipeline.py", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_the_environment_of_the_checkout_goes_on(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$FACESEARCH_IN_ENVIRONMENT" "$@"\n')
    python.chmod(0o755)
    done = run(checkout, "--input_directory", "a b")
    assert (done.returncode, done.stdout) == (0, "1 -S run_pipeline.py --input_directory a b\n"), done.stderr


def test_without_one_the_remedy_is_told(checkout: Path) -> None:
    done = run(checkout, "--input_directory", ".")
    assert done.returncode == 2
    assert f"is not installed in {sys.executable}" in done.stderr
    assert "./pipeline.sh" in done.stderr
    # An environment that has not the packages either is tried once.
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    done = run(checkout, "--input_directory", ".")
    assert done.returncode == 2
    assert "is not installed in" in done.stderr


def test_the_remedy_is_for_the_python_that_runs() -> None:
    assert pip_install("facesearch_trt[web]").endswith(f" -m pip install -e '{CHECKOUT}[web]'")
    assert pip_install("x").startswith(sys.executable)
