"""After a SIGKILL at any moment the next run completes the job and leaves no stray file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("scenario", ["first", "over", "steps", "anywhere"])
def test_kill(tmp_path: Path, scenario: str) -> None:
    """``first``: into nothing; ``over``: over another result; ``steps``: one by one; ``anywhere``: between events."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.killer", scenario, str(tmp_path)],
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
