"""Copies device memory that somebody else owns to the host."""

from __future__ import annotations

import threading

import numpy as np

from ..types import Array
from .device import CudaDevice, CudaStream, PinnedBuffer

__all__ = ["HostCopies"]


class HostCopies:
    """A function that copies device memory to the host through page-locked memory of its own.

    May be called from several threads; one call at a time copies. What it holds on the device is freed by :meth:`close`.
    """

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._stream: CudaStream | None = None
        self._host: PinnedBuffer | None = None

    def __call__(self, pointer: int, nbytes: int) -> Array:
        """Return a copy, uint8 [nbytes]. Raises EngineError where the copy fails."""
        with self._lock, self._device.active():
            # Its owner may still be writing it, in a stream of its own that nobody tells.
            self._device.synchronize()
            if self._stream is None:
                self._stream = self._device.stream()
            if self._host is None or self._host.nbytes < nbytes:
                self._free_host()
                self._host = self._device.pinned(nbytes)
            view = self._host.view((nbytes,), np.uint8)
            self._stream.download(view, pointer)
            self._stream.synchronize()
            return view.copy()

    def close(self) -> None:
        """Free what is held; a later call makes it anew."""
        with self._lock, self._device.active():
            self._free_host()
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def _free_host(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None
