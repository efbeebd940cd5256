"""Batched NVMM buffers, modelled in system memory.

PyGObject cannot make a GstMeta, so what DeepStream hangs on a buffer (its surfaces and its batch meta) is kept in a
table whose key is the buffer's address: ``hash()`` of a PyGObject structure, the very handle that pyds takes. An
entry goes when GStreamer frees the buffer, told by a weak reference on the mini object, set through ctypes. Buffers
that carry an entry are made one by one and never pooled: a pool would hand out an old address without freeing
anything.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .rules import STATE, violation

TENSOR_POOL = 6

_NOTIFY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_core = ctypes.CDLL("libgstreamer-1.0.so.0")
_core.gst_mini_object_weak_ref.argtypes = (ctypes.c_void_p, _NOTIFY, ctypes.c_void_p)
_core.gst_mini_object_weak_ref.restype = None


@dataclass
class Surface:
    """One picture of a batch, an entry of NvBufSurface.surfaceList."""

    pixels: np.ndarray
    """uint8: NV12 as [H * 3 / 2, W], RGBA as [H, W, 4], RGB as [H, W, 3] with rows of a pitch."""
    colour_format: str
    """``NV12``, ``RGBA`` or ``RGB``."""
    width: int
    height: int
    memory_type: int
    """Of NvBufSurfaceMemType, the default resolved."""
    matrix: str
    """``bt601`` or ``bt709``: which YUV it is."""
    is_mapped: bool = False


@dataclass
class Layer:
    """One output tensor of a batch."""

    name: str
    content: np.ndarray
    """[frames, ...], the pooled host buffer."""


@dataclass
class Tensors:
    """A pooled output buffer of nvinfer, shared by the frames of a batch."""

    unique_id: int
    layers: list[Layer]
    net_width: int
    net_height: int
    is_open: bool = True

    def close(self) -> None:
        """Give the buffer back: what is still looking at it sees rubbish, as it would see the next batch."""
        self.is_open = False
        for layer in self.layers:
            if layer.content.dtype.kind == "f":
                layer.content.fill(np.nan)


@dataclass
class FrameRecord:
    """What a NvDsFrameMeta holds."""

    pad_index: int
    source_id: int
    batch_id: int
    frame_num: int
    buf_pts: int
    source_width: int
    source_height: int
    tensors: list[tuple[Tensors, int]] = field(default_factory=list)
    """Output buffers, and the frame's place in each."""


@dataclass
class Batch:
    """What hangs on one batched buffer."""

    frames: list[FrameRecord]
    surfaces: list[Surface]
    max_frames: int
    on_gone: list[Callable[[], None]] = field(default_factory=list)


_table: dict[int, Batch] = {}
_lock = threading.Lock()


@_NOTIFY
def _gone(_: Any, address: int) -> None:
    with _lock:
        batch = _table.pop(address, None)
    if batch is None:
        return
    for surface in batch.surfaces:
        if surface.is_mapped:
            violation("a surface was mapped and never unmapped")
    for tell in batch.on_gone:
        tell()


def attach(buffer: Any, batch: Batch) -> None:
    """Hang a batch on a buffer that is nobody's yet."""
    address = hash(buffer)
    with _lock:
        _table[address] = batch
    _core.gst_mini_object_weak_ref(address, _gone, None)


def batch_of(address: int) -> Batch | None:
    """Return what hangs on the buffer of this address."""
    with _lock:
        return _table.get(address)


def alive() -> int:
    """Return how many batched buffers there are."""
    with _lock:
        return len(_table)


class TensorPool:
    """The pooled output buffers of one nvinfer."""

    def __init__(self, size: int = TENSOR_POOL) -> None:
        self.size = size
        self._outstanding = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a buffer. The real element waits here for ever once all are held; the double says so."""
        with self._lock:
            if self._outstanding >= self.size:
                raise violation(f"all {self.size} tensor buffers are held: nvinfer would wait for ever")
            self._outstanding += 1

    def give(self) -> None:
        """Give a buffer back."""
        with self._lock:
            self._outstanding -= 1


def resolved_memory_type(asked: int) -> int:
    """Return the memory that a property's value stands for on this machine."""
    if asked == 0:
        return 4 if STATE.jetson else 2
    return asked
