"""Reads arrays of other libraries through DLPack, on the host or on the device, without importing any of them.

Layout: ``dlpack.h`` of DLPack, ``DLTensor``, with which the ``DLManagedTensor`` begins that a capsule named
``dltensor`` holds.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..errors import BackendError
from ..types import Array
from .probe import Download

__all__ = ["array_of"]

_ON_HOST = (1, 3, 13)
"""kDLCPU, kDLCUDAHost, kDLCUDAManaged."""
_ON_DEVICE = 2
"""kDLCUDA."""
_KINDS = {0: "i", 1: "u", 2: "f"}
"""kDLInt, kDLUInt, kDLFloat."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_pointer.restype = ctypes.c_void_p


def array_of(tensor: Any, download: Download | None) -> Array:
    """Return a copy, on the host and contiguous, of a tensor.

    Parameters
    ----------
    tensor: an object with ``__dlpack__``.
    download: copies device memory; None where none is expected.

    Raises BackendError for a type that cannot be read, or device memory without ``download``.
    """
    # It owns the tensor's description: it has to live until all is copied.
    capsule = tensor.__dlpack__()
    view = ctypes.cast(_pointer(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents
    if view.lanes != 1 or view.code not in _KINDS or view.bits not in (8, 16, 32, 64):
        raise BackendError("cannot read a tensor of this type", found=f"DLPack code {view.code}, {view.bits} bits")
    kind: np.dtype[Any] = np.dtype(f"{_KINDS[view.code]}{view.bits // 8}")
    shape = tuple(view.shape[axis] for axis in range(view.ndim))
    if 0 in shape:
        return np.zeros(shape, kind)
    strides = _strides(view, shape, kind.itemsize)
    if min(strides, default=1) < 0:
        raise BackendError("cannot read a tensor that runs backwards", found=f"strides {strides}")
    span = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + kind.itemsize
    return np.ndarray(shape, kind, buffer=_bytes(view, span, download), strides=strides).copy()


def _strides(view: _Tensor, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return a tensor's strides in bytes."""
    packed = tuple(int(np.prod(shape[axis + 1 :])) * itemsize for axis in range(view.ndim))
    if not view.strides:
        return packed
    given = tuple(view.strides[axis] for axis in range(view.ndim))
    # DLPack counts items. pyservicemaker hands the same numbers to numpy, which counts bytes: so packed bytes are taken
    # for what they are. To read them as items would be to read beyond the tensor's end.
    return packed if given == packed else tuple(stride * itemsize for stride in given)


def _bytes(view: _Tensor, count: int, download: Download | None) -> Array:
    address = (view.data or 0) + view.byte_offset
    if view.device_type in _ON_HOST:
        return np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))
    if view.device_type == _ON_DEVICE and download is not None:
        return np.ascontiguousarray(download(address, count))
    raise BackendError("cannot read a tensor where it lies", found=f"DLPack device {view.device_type}")
