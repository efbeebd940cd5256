from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch_trt.errors import StoreError
from facesearch_trt.search.lock import WriterLock

HOLDER = """
import sys
from pathlib import Path
from facesearch_trt.search.lock import WriterLock
with WriterLock(Path(sys.argv[1]), wait_s=0):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    with _holder(tmp_path / "lock") as process:
        with pytest.raises(StoreError, match=f"another process is writing the index .*process {process.pid}"):
            WriterLock(tmp_path / "lock", wait_s=0).__enter__()
        process.communicate("")


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    with _holder(tmp_path / "lock") as process:
        process.kill()
        process.communicate()
    with WriterLock(tmp_path / "lock", wait_s=0):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_waiting_outlasts_a_short_holder(tmp_path: Path) -> None:
    with _holder(tmp_path / "lock") as process:
        assert process.stdin is not None
        process.stdin.close()
        with WriterLock(tmp_path / "lock", wait_s=30):
            pass


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write the index"):
        WriterLock(tmp_path / "missing" / "lock", wait_s=0).__enter__()
