"""One process writes an index at a time. Readers never wait."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from types import TracebackType

from ..errors import StoreError

__all__ = ["WriterLock"]

_LOG = logging.getLogger(__name__)


class WriterLock:
    """A file lock that the system frees when its holder ends, however it ends. A context manager.

    Parameters
    ----------
    path: the lock's file; its directory exists.
    wait_s: how long to wait for another holder.
    """

    def __init__(self, path: Path, *, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._descriptor: int | None = None

    def __enter__(self) -> WriterLock:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StoreError("cannot write the index", where=self._path.parent, found=error.strerror) from error
        try:
            self._take(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def _take(self, descriptor: int) -> None:
        end, told = time.monotonic() + self._wait_s, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                if time.monotonic() >= end:
                    raise StoreError(
                        "another process is writing the index",
                        where=self._path.parent,
                        found=f"process {holder}",
                        remedy="Wait until it is done, then run this again.",
                    ) from None
                if not told:
                    _LOG.info("%s: waiting for process %s, which is writing the index", self._path.parent, holder)
                    told = True
                time.sleep(0.05)
            else:
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
