"""Picture files written by worker threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

from ..types import Array
from .files import storing, write_bytes
from .png import encode_png

__all__ = ["PictureWriter"]


class PictureWriter:
    """Hands writes to an executor and keeps at most ``pending`` of them, and so of their pictures, in memory.

    The first error of a write surfaces as StoreError, naming ``directory``, in a later call.
    """

    def __init__(self, executor: Executor, directory: Path, *, pending: int) -> None:
        self._executor = executor
        self._directory = directory
        self._limit = pending
        self._pending: deque[Future[None]] = deque()

    def submit(self, paths: Sequence[Path], images: Sequence[Array], compression: int) -> None:
        """Have pictures written, uint8 [H, W, 3] BGR each; waits while too many are pending."""
        while self._pending and (len(self._pending) >= self._limit or self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._executor.submit(self._write, paths, images, compression))

    def finish(self) -> None:
        """Wait until everything is written."""
        while self._pending:
            self._pending.popleft().result()

    def cancel(self) -> None:
        """Drop what has not started and wait for what has: nothing writes after this. Raises nothing."""
        for future in self._pending:
            future.cancel()
        for future in self._pending:
            if not future.cancelled():
                future.exception()
        self._pending.clear()

    def _write(self, paths: Sequence[Path], images: Sequence[Array], compression: int) -> None:
        for path, image in zip(paths, images, strict=True):
            data = encode_png(image, compression)
            with storing(self._directory, needed_bytes=len(data)):
                write_bytes(path, data)
