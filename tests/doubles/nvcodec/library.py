"""libgstcuda and GStreamer's core library, as far as the program may use them."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import gi
import numpy as np

gi.require_version("Gst", "1.0")

from gi.repository import Gst  # noqa: E402

from facesearch_trt.graph.buffers import MapInfo, core_library  # noqa: E402
from facesearch_trt.types import Array  # noqa: E402
from tests.doubles.gpu.contract import Violation  # noqa: E402
from tests.doubles.gpu.machine import Block, GpuMachine  # noqa: E402

__all__ = ["CONTEXT_TYPE", "Cuda"]

CONTEXT_TYPE = "gst.cuda.context"
MAP_CUDA = 1 << 17
_Notify = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Cuda:
    """What happened to device memory, and the functions of the libraries.

    Raises for: names that the library lacks, a context that is not the GPU's primary one, pictures read before the decoder's work was
    waited for (they hold garbage until then), device memory mapped for the host (a hidden download), and memory or contexts left over.
    """

    def __init__(self, machine: GpuMachine, *, has_sync: bool) -> None:
        self.machine = machine
        self.has_sync = has_sync
        self.violations: list[str] = []
        self.shared: list[int] = []
        """Handles of the contexts that pipelines were given."""
        self.pictures = 0
        """How many were decoded."""
        self.held = 0
        self.most_held = 0
        """Pictures in device memory at once."""
        self._contexts: dict[int, tuple[Any, int]] = {}
        self._wrapped: dict[int, int] = {}
        self._waiting: dict[int, tuple[Block, Array]] = {}
        self._blocks: dict[int, Block] = {}
        self._notify = _Notify(self._freed)
        self._lock = threading.Lock()

    # libgstcuda, as ctypes gives it.

    def __getattr__(self, name: str) -> Any:
        if name == "gst_cuda_memory_sync" and self.has_sync:
            return self._sync
        if name.startswith("gst_") and name != "gst_cuda_memory_sync":
            self.violations.append(f"libgstcuda has no {name}")
        raise AttributeError(name)

    def gst_cuda_context_new_wrapped(self, handle: int, device: int) -> int:
        from facesearch_trt.inference.device import _devices

        if device not in _devices or handle != _devices[device].context_handle:
            raise self._violation(f"context {handle:#x} of GPU {device} is not the one that the networks run in")
        key = 0x1000 + len(self._wrapped)
        self._wrapped[key] = handle
        return key

    def gst_context_new_cuda_context(self, wrapped: int) -> int:
        context = Gst.Context.new(CONTEXT_TYPE, True)
        self._contexts[hash(context)] = context, self._wrapped[wrapped]
        return hash(context)

    def gst_is_cuda_memory(self, memory: int) -> int:
        return int(self._address(memory) in self._blocks)

    def _sync(self, memory: int) -> None:
        self._finish(self._address(memory))

    # The core library: what maps and unmaps goes through here.

    def core(self) -> Any:
        return _Core(self)

    # For the elements.

    def new_picture(self, content: Array) -> Any:
        """Return a Gst.Memory that holds bytes in device memory."""
        block = self.machine.allocate(content.nbytes)
        if block is None:
            raise self._violation("the GPU's memory is full of pictures")
        with self._lock:
            self._blocks[block.address] = block
            self.pictures += 1
            self.held += 1
            self.most_held = max(self.most_held, self.held)
            if self.has_sync:
                self._waiting[block.address] = block, content.copy()
            else:
                block.body[:] = content
        return block.address

    def wrap(self, buffer: Any, address: int, nbytes: int) -> None:
        """Append device memory to a buffer; it is freed with it."""
        core = ctypes.CDLL("libgstreamer-1.0.so.0")
        core.gst_memory_new_wrapped.restype = ctypes.c_void_p
        core.gst_memory_new_wrapped.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_size_t,
            ctypes.c_size_t,
            ctypes.c_void_p,
            _Notify,
        )
        core.gst_buffer_append_memory.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        core.gst_buffer_append_memory.restype = None
        memory = core.gst_memory_new_wrapped(0, address, nbytes, 0, nbytes, address, self._notify)
        core.gst_buffer_append_memory(hash(buffer), memory)

    def check_clean(self) -> None:
        """Raise where pictures or contexts are left over."""
        if self._blocks or self._wrapped or self._contexts:
            raise Violation(
                f"left over: {len(self._blocks)} pictures, {len(self._wrapped)} GstCudaContexts, {len(self._contexts)} GstContexts"
            )

    def _freed(self, address: int) -> None:
        with self._lock:
            self._waiting.pop(address, None)
            self.held -= 1
            block = self._blocks.pop(address)
        self.machine.free(block)

    def _finish(self, address: int) -> None:
        with self._lock:
            waiting = self._waiting.pop(address, None)
        if waiting is not None:
            block, content = waiting
            block.body[:] = content

    def _address(self, memory: int) -> int:
        core, info = core_library(), MapInfo()
        core.gst_memory_map.argtypes = (ctypes.c_void_p, ctypes.POINTER(MapInfo), ctypes.c_int)
        core.gst_memory_unmap.argtypes = (ctypes.c_void_p, ctypes.POINTER(MapInfo))
        assert core.gst_memory_map(memory, ctypes.byref(info), int(Gst.MapFlags.READ))
        core.gst_memory_unmap(memory, ctypes.byref(info))
        return int(info.data or 0)

    def _violation(self, text: str) -> Violation:
        self.violations.append(text)
        return Violation(text)


class _Core:
    """GStreamer's own library with a watch on what is mapped and given back."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._real = core_library()

    def gst_buffer_map(self, buffer: int, info: Any, flags: int) -> int:
        if not flags & MAP_CUDA:
            raise self._cuda._violation("device memory was mapped for the host: GStreamer would download it")
        found = int(self._real.gst_buffer_map(buffer, info, flags))
        address = int(info._obj.data or 0)
        if address not in self._cuda._blocks:
            raise self._cuda._violation("what was mapped is not device memory")
        return found

    def gst_buffer_unmap(self, buffer: int, info: Any) -> None:
        self._real.gst_buffer_unmap(buffer, info)

    def gst_element_set_context(self, element: int, context: int) -> None:
        self._real.gst_element_set_context(element, context)
        self._cuda.shared.append(self._cuda._contexts[context][1])

    def gst_mini_object_unref(self, context: int) -> None:
        del self._cuda._contexts[context]

    def gst_object_unref(self, wrapped: int) -> None:
        del self._cuda._wrapped[wrapped]


def padded(rows: Array, pitch: int) -> Array:
    """Return a plane, uint8 [H, W], with rows of ``pitch`` bytes and noise behind each."""
    noise = np.full((rows.shape[0], pitch), 0xEE, np.uint8)
    noise[:, : rows.shape[1]] = rows
    return noise.ravel()
