"""Builds one engine under the double; started by tests as a process of its own."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

from facesearch_trt.inference.build import BuildOrder, build_engine
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.profiles import embedder_profiles
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks

__all__: list[str] = []


class _Marks(logging.Handler):
    """Leaves a file where the process says that it waits for another."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        if "waiting for it" in record.getMessage():
            (self.folder / f"started-{os.getpid()}.waits").touch()


def main(onnx: Path, directory: Path, hold: Path) -> None:
    """Build into ``directory``; stay inside the build for as long as ``hold`` exists."""
    logging.getLogger().addHandler(_Marks(hold.parent))
    logging.getLogger().setLevel(logging.INFO)

    def wait(phase: str, done: int, steps: int) -> None:
        (hold.parent / f"building-{os.getpid()}").touch()
        while hold.exists():
            time.sleep(0.02)

    with installed(GpuMachine(), "10.3.0") as machine:
        order = BuildOrder("small", onnx, "fp16", embedder_profiles(networks.CHIP, (1, 4)))
        entry = build_engine(order, directory, cuda_device(), progress=wait)
        print(json.dumps({"builds": machine.calls["build"], "sha256": entry.sha256}))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
