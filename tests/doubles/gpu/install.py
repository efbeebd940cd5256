"""Puts the stand-ins in the place of the real modules for a while."""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator
from unittest import mock

from facesearch_trt.identity.track import load_tracker
from facesearch_trt.inference import cuda_graph, device, trt_logging

from .graphs_double import DriverLibraryDouble
from .machine import GpuMachine
from .pycuda_double import make_pycuda
from .tensorrt_double import make_tensorrt

__all__ = ["installed"]


@contextlib.contextmanager
def installed(machine: GpuMachine, version: str, *, has_nvcc: bool = True, check: bool = True) -> Iterator[GpuMachine]:
    """Make ``machine`` with a version of TensorRT the GPU of this process.

    On leaving, raise Violation where anything of it is still in use; not with ``check`` off.
    """
    # A run loads the tracker in a thread; leaving takes away all modules that came meanwhile, half loaded ones too.
    load_tracker()
    modules = {**make_pycuda(machine, has_nvcc=has_nvcc), "tensorrt": make_tensorrt(machine, version)}
    with (
        mock.patch.dict(sys.modules, modules),
        mock.patch.dict(device._devices, clear=True),
        mock.patch.dict(trt_logging._loggers, clear=True),
        mock.patch.object(cuda_graph, "_library", DriverLibraryDouble(machine)),
    ):
        try:
            yield machine
        finally:
            for one in device._devices.values():
                atexit.unregister(one._release)
            machine.retained_by = None
    gc.collect()
    if check:
        machine.check_clean()
