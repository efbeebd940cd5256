"""Pieces of a GPU's memory and of page-locked memory beside it; :mod:`.device` gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import EngineError
from ..types import Array

__all__ = ["DeviceArray", "DeviceBuffer", "PinnedBuffer"]


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """A C-contiguous array in device memory that somebody else owns."""

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    """numpy's name."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class DeviceBuffer:
    """A piece of device memory. Freed by :meth:`close`, inside an active device."""

    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation = allocation
        self.nbytes = nbytes
        self.pointer = int(allocation)

    def close(self) -> None:
        """Free the memory; more than once does no harm."""
        if self._allocation is not None:
            self._allocation.free()
            self._allocation = None


class PinnedBuffer:
    """Page-locked host memory, from which and to which copies run beside other work.

    Freed by :meth:`close`, inside an active device.
    """

    def __init__(self, raw: Array) -> None:
        self._raw: Array | None = raw
        self.nbytes = raw.nbytes

    def view(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return the buffer's beginning as an array; it must not outlive the buffer."""
        if self._raw is None:
            raise EngineError("the buffer was closed")
        kind = np.dtype(dtype)
        return self._raw[: int(np.prod(shape, dtype=np.int64)) * kind.itemsize].view(kind).reshape(shape)

    def close(self) -> None:
        """Free the memory; more than once does no harm."""
        if self._raw is not None:
            allocation = self._raw.base
            self._raw = None
            allocation.free()  # type: ignore[union-attr]
