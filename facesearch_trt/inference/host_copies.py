"""Copies device memory that somebody else owns to the host."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ..types import Array
from .device import CudaDevice, CudaStream
from .device_memory import PinnedBuffer

__all__ = ["Fetch", "HostCopies"]

Fetch = Callable[[Sequence[tuple[int, int]]], list[Array]]
"""Copies pieces, (pointer, bytes) each, to the host and returns them, uint8 [bytes], as they are until the next call or the end."""


class HostCopies:
    """Copies device memory to the host through page-locked memory of its own.

    May be used from several threads, each with a stream and memory for itself while it copies. What is held on the device is
    freed by :meth:`close`.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._idle: list[_Way] = []

    def __call__(self, pointer: int, nbytes: int) -> Array:
        """Return a copy, uint8 [nbytes]. Raises EngineError where the copy fails."""
        with self.ready() as fetch:
            return fetch([(pointer, nbytes)])[0].copy()

    @contextmanager
    def ready(self) -> Iterator[Fetch]:
        """Wait until what is on the device is written, and give what fetches it, for a while; the device is active then.

        Raises EngineError where the device's work or a copy fails.
        """
        with self._device.active():
            # Its owner may still be writing it, in a stream of its own that nobody tells; so there is no event to wait for.
            self._device.synchronize()
            with self._lock:
                way = self._idle.pop() if self._idle else None
            if way is None:
                way = _Way(self._device)
            try:
                yield way.fetch
            finally:
                with self._lock:
                    self._idle.append(way)

    def close(self) -> None:
        """Free what is held; a later call makes it anew."""
        with self._lock, self._device.active():
            while self._idle:
                self._idle.pop().close()


class _Way:
    """A stream and page-locked memory that grows to the largest that was fetched."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._stream: CudaStream = device.stream()
        self._host: PinnedBuffer | None = None

    def fetch(self, pieces: Sequence[tuple[int, int]]) -> list[Array]:
        """Copy some pieces; see :data:`Fetch`."""
        total = sum(nbytes for _, nbytes in pieces)
        if self._host is None or self._host.nbytes < total:
            self._free_host()
            self._host = self._device.pinned(total)
        rest = self._host.view((total,), np.uint8)
        found = []
        for pointer, nbytes in pieces:
            view, rest = rest[:nbytes], rest[nbytes:]
            self._stream.download(view, pointer)
            found.append(view)
        self._stream.synchronize()
        return found

    def close(self) -> None:
        self._free_host()
        self._stream.close()

    def _free_host(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None
