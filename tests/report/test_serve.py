"""``facesearch serve`` as a process: what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facesearch_trt.cli.main import main

_SERVE = """
import sys
from facesearch_trt.report.jobs import Jobs
import facesearch_trt.report.service as service

class Sleepy(Jobs):
    def start(self, title, arguments, *, clips=0):
        job = super().start(title, arguments, clips=clips)
        job.command = (sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(300)")
        return job

service.Jobs = Sleepy
keep = service.Service.__enter__

def entered(self):
    job = self.jobs.start("sleep", [])
    while not job.log:
        pass
    print("child", job.log[0], flush=True)
    return keep(self)

service.Service.__enter__ = entered
from facesearch_trt.cli.main import main
sys.exit(main(["serve", sys.argv[1], "--port", sys.argv[2], "--index", sys.argv[3]]))
"""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_that_it_started(root: Path, unused_port: int, number: signal.Signals) -> None:
    command = [sys.executable, "-c", _SERVE, str(root), str(unused_port), str(root.parent / "index")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stdout is not None
        lines = []
        for line in server.stdout:
            lines.append(line)
            if line.startswith("http"):
                break
        child = int(re.findall(r"child (\d+)", "".join(lines))[0])
        assert _alive(child)
        # From the address on it is about to listen; whenever the signal comes, it ends in order.
        time.sleep(1)
        server.send_signal(number)
        assert server.wait(30) == 0
    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "mine.pem"
    if content is not None:
        path.write_text(content)
    assert main(["serve", str(root), "--tls-certificate", str(path), "--tls-key", str(path)]) == 2
    assert "mine.pem" in capsys.readouterr().err


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
