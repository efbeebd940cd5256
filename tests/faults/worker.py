"""The worker process with faults in its decoder: a clip's name says which. Takes the place of ``facesearch_trt.worker`` in tests."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

from facesearch_trt import worker
from facesearch_trt.graph.software import SoftwareSource
from facesearch_trt.types import Frame

_AT_FRAME = 5
_decoded = SoftwareSource.__iter__


def _faulty(source: SoftwareSource) -> Iterator[Frame]:
    name = source._clip.name
    for frame in _decoded(source):
        if frame.frame_num == _AT_FRAME:
            if name.startswith("crash"):
                os.kill(os.getpid(), signal.SIGSEGV)
            elif name.startswith("once"):
                # A fault that does not come again: memory ran out while another clip was in work.
                flag = source._path.with_suffix(".died")
                if not flag.exists():
                    flag.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            elif name.startswith("stuck"):
                # Native code that neither returns nor lets other threads of Python run.
                ctypes.PyDLL(None).sleep(1000)
            elif name.startswith("slow"):
                time.sleep(2)
        yield frame


SoftwareSource.__iter__ = _faulty  # type: ignore[method-assign]

if __name__ == "__main__":
    worker.main(int(sys.argv[1]), int(sys.argv[2]))
