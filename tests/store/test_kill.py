"""After a SIGKILL at any moment the next run completes the job and leaves no stray file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: thousands of files come and go here."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        yield Path(directory)


@pytest.mark.parametrize("scenario", ["first", "over", "steps", "anywhere"])
def test_kill(quick_disk: Path, scenario: str) -> None:
    """``first``: into nothing; ``over``: over another result; ``steps``: one by one; ``anywhere``: between events."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.killer", scenario, str(quick_disk)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *problems, summary = done.stdout.splitlines()
    assert problems == []
    _, kills, _, untouched = summary.split()
    assert int(kills) >= 25, "a pass has more moments than that"
    assert scenario == "first" or int(untouched) >= 5, "up to the commit the old result must stand"
