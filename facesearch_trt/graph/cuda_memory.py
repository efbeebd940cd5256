"""GStreamer's CUDA memory: pictures that a decoder left on the GPU, read without a copy; through libgstcuda by ctypes.

PyGObject has no bindings for it. The flag and the functions are those of gst-plugins-bad 1.22 to 1.28
(``gst/cuda/gstcudamemory.h``, ``gstcudacontext.h``, ``gstcudautils.h``).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from ..errors import BackendError, DecodeError
from .buffers import MapInfo, core_library
from .gst import colour_of, gstreamer, plane_layout

__all__ = ["CUDA_FEATURE", "MAP_CUDA", "CudaContext", "CudaPicture", "cuda_library", "cuda_picture", "share_context"]

CUDA_FEATURE = "memory:CUDAMemory"
"""What caps say of it."""
MAP_CUDA = 1 << 17
"""GST_MAP_CUDA, GST_MAP_FLAG_LAST << 1: give the device's address and copy nothing to the host."""
_MATRICES = {"bt709": "bt709", "bt601": "bt601", "fcc": "bt601", "smpte240m": "bt709"}
"""GStreamer's names of YUV matrices → those that the kernels know, the nearest for rare ones."""


@dataclass(frozen=True, slots=True)
class CudaContext:
    """The context of a GPU that others in the process use too."""

    handle: int
    """The CUcontext."""
    device: int
    """The CUdevice, which is the GPU's number."""


@dataclass(frozen=True, slots=True)
class CudaPicture:
    """An NV12 picture in device memory, valid as long as it is mapped."""

    width: int
    height: int
    """px"""
    planes: tuple[int, int]
    """Device addresses of Y, and of U and V by turns."""
    pitches: tuple[int, int]
    """Bytes per row of each."""
    matrix: Literal["bt601", "bt709"]
    full_range: bool
    """Y from 0 to 255 instead of 16 to 235."""


@functools.cache
def cuda_library() -> Any:
    """Return libgstcuda with the types of what is used of it.

    Raises BackendError where it is missing or finds no NVIDIA driver.
    """
    try:
        library = ctypes.CDLL("libgstcuda-1.0.so.0")
    except OSError as error:
        raise BackendError(
            "GStreamer's CUDA library is not installed",
            found=error,
            remedy="apt-get install gstreamer1.0-plugins-bad (1.22 or newer), or use --graph software.",
        ) from error
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("gst_cuda_load_library", integer, ()),
        ("gst_cuda_context_new_wrapped", pointer, (pointer, integer)),
        ("gst_context_new_cuda_context", pointer, (pointer,)),
        ("gst_is_cuda_memory", integer, (pointer,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if hasattr(library, "gst_cuda_memory_sync"):
        library.gst_cuda_memory_sync.restype, library.gst_cuda_memory_sync.argtypes = None, (pointer,)
    if not library.gst_cuda_load_library():
        raise BackendError(
            "GStreamer finds no NVIDIA driver",
            remedy="Check `nvidia-smi`; in a container give it the GPU with its video part, or use --graph software.",
        )
    return library


def share_context(pipeline: Any, context: CudaContext) -> None:
    """Let all elements of a pipeline work in a context that is there already, before the pipeline is started.

    Without it GStreamer makes one of its own, whose memory no other can read.
    """
    library, core = cuda_library(), core_library()
    wrapped = library.gst_cuda_context_new_wrapped(context.handle, context.device)
    if not wrapped:
        raise BackendError("GStreamer does not take the GPU's context", asked=f"GPU {context.device}")
    message = library.gst_context_new_cuda_context(wrapped)
    try:
        # The hash of a PyGObject is its address.
        core.gst_element_set_context(hash(pipeline), message)
    finally:
        core.gst_mini_object_unref(message)
        core.gst_object_unref(wrapped)


@contextmanager
def cuda_picture(sample: Any) -> Iterator[CudaPicture]:
    """Give a sample's NV12 picture in device memory, complete and unchanged inside the ``with``.

    Raises DecodeError where the sample is in other memory or cannot be mapped.
    """
    library, core = cuda_library(), core_library()
    buffer, caps = sample.get_buffer(), sample.get_caps()
    if buffer.n_memory() != 1 or not library.gst_is_cuda_memory(hash(memory := buffer.peek_memory(0))):
        raise DecodeError("a decoded frame is not in the GPU's memory", found=caps.to_string())
    # Before 1.24 the decoders wait for their own work.
    if hasattr(library, "gst_cuda_memory_sync"):
        library.gst_cuda_memory_sync(hash(memory))
    structure = caps.get_structure(0)
    width, height = structure.get_value("width"), structure.get_value("height")
    offsets, pitches = plane_layout(buffer, caps)
    matrix, is_full = colour_of(caps)
    info = MapInfo()
    if not core.gst_buffer_map(hash(buffer), ctypes.byref(info), int(gstreamer().MapFlags.READ) | MAP_CUDA):
        raise DecodeError("cannot map a decoded frame in the GPU's memory")
    try:
        planes = cast("tuple[int, int]", tuple(info.data + offset for offset in offsets[:2]))
        known = cast("Literal['bt601', 'bt709']", _MATRICES.get(matrix, "bt709" if height >= 720 else "bt601"))
        yield CudaPicture(width, height, planes, (pitches[0], pitches[1]), known, is_full)
    finally:
        core.gst_buffer_unmap(hash(buffer), ctypes.byref(info))
