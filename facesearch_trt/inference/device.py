"""Memory, streams and the context of the NVIDIA GPU, behind a small interface; the only module that imports pycuda.

The process has one context per GPU, the primary one, which TensorRT, GStreamer and DeepStream use too. It is never
left current: every piece of work on the device goes inside ``with device.active():``, also the freeing of memory,
since pycuda can free only in a thread where the context is current.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import EngineError
from ..types import Array
from .device_memory import DeviceBuffer, PinnedBuffer

__all__ = ["CudaDevice", "CudaStream", "cuda_device", "gib", "gpus"]

_log = logging.getLogger(__name__)
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: no waiting for what others put on the default stream.
_devices: dict[int, CudaDevice] = {}
_devices_lock = threading.Lock()


class CudaStream:
    """A queue of work on the device. What is put in is done in order, later; :meth:`synchronize` waits for it."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._stream: Any = driver.Stream(_NON_BLOCKING)

    @property
    def native(self) -> Any:
        """pycuda's stream, for kernel launches."""
        return self._stream

    @property
    def handle(self) -> int:
        """The CUstream."""
        return int(self._stream.handle)

    def upload(self, pointer: int, host: Array) -> None:
        """Copy a pinned host array to the device. It must stay as it is until the stream is synchronized."""
        with _driver_errors(self._driver, "cannot copy to the device"):
            self._driver.memcpy_htod_async(pointer, host, self._stream)

    def download(self, host: Array, pointer: int) -> None:
        """Copy device memory to a pinned host array, which holds it once the stream is synchronized."""
        with _driver_errors(self._driver, "cannot copy from the device"):
            self._driver.memcpy_dtoh_async(host, pointer, self._stream)

    def fill_zero(self, pointer: int, nbytes: int) -> None:
        """Set bytes to 0."""
        with _driver_errors(self._driver, "cannot clear device memory"):
            self._driver.memset_d8_async(pointer, 0, nbytes, self._stream)

    def synchronize(self) -> None:
        """Wait until all that was put in is done. Raises EngineError where any of it failed."""
        with _driver_errors(self._driver, "work on the device failed"):
            self._stream.synchronize()

    def close(self) -> None:
        """Destroy the stream, inside an active device."""
        self._stream = None


class CudaDevice:
    """The GPU of this process. Get it from :func:`cuda_device`."""

    def __init__(self, index: int) -> None:
        self.driver = driver = _import_driver()
        self.index = index
        with _driver_errors(driver, "the NVIDIA driver does not start", remedy=_DRIVER_REMEDY):
            driver.init()
            count = driver.Device.count()
        if not 0 <= index < count:
            raise EngineError("there is no such GPU", asked=f"GPU {index}", found=f"{count} GPUs")
        with _driver_errors(driver, "the GPU does not start", remedy=_DRIVER_REMEDY):
            device = driver.Device(index)
            self._context: Any = device.retain_primary_context()
            self.name: str = device.name()
            self.compute_capability: str = "{}.{}".format(*device.compute_capability())
            self.total_bytes: int = device.total_memory()
            self._attributes = device
            version = driver.get_driver_version()
        self.driver_version = f"{version // 1000}.{version % 1000 // 10}"
        self.recording = threading.Lock()
        """Held while a stream is recorded: CUDA does not allow to wait for the whole device then."""
        atexit.register(self._release)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make the device current in this thread for a while. May be nested."""
        self._context.push()
        try:
            yield
        finally:
            self.driver.Context.pop()

    def synchronize(self) -> None:
        """Wait until all that was put on the device is done, by whomever in this process; inside an active device.

        Raises EngineError where any of it failed.
        """
        with self.recording, _driver_errors(self.driver, "work on the device failed"):
            self.driver.Context.synchronize()

    @property
    def context_handle(self) -> int:
        """The CUcontext, for libraries that are to work in it too."""
        return int(self._context.handle)

    def attribute(self, name: str) -> int:
        """Return a device attribute by its name in CUDA, ``MULTIPROCESSOR_COUNT`` for example."""
        return int(self._attributes.get_attribute(getattr(self.driver.device_attribute, name)))

    def free_bytes(self) -> int:
        """Return how much device memory is free; inside an active device."""
        return int(self.driver.mem_get_info()[0])

    def allocate(self, nbytes: int, purpose: str, remedy: str = "Use a smaller batch.") -> DeviceBuffer:
        """Allocate device memory; inside an active device.

        Raises EngineError, with what was asked for, what is free and ``remedy``, where there is not enough.
        """
        try:
            allocation = self.driver.mem_alloc(max(1, nbytes))
        except self.driver.MemoryError:
            raise self.no_memory(nbytes, purpose, remedy) from None
        except self.driver.Error as error:
            raise EngineError(
                "cannot allocate device memory", asked=f"{gib(nbytes)} for {purpose}", found=error
            ) from error
        return DeviceBuffer(allocation, nbytes)

    def no_memory(self, nbytes: int, purpose: str, remedy: str) -> EngineError:
        """Return the error for a failed allocation; inside an active device."""
        return EngineError(
            "not enough GPU memory",
            where=self.name,
            asked=f"{gib(nbytes)} for {purpose}",
            found=f"{gib(self.free_bytes())} free of {gib(self.total_bytes)}",
            remedy=remedy,
        )

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Allocate page-locked host memory; inside an active device."""
        with _driver_errors(self.driver, "cannot allocate page-locked host memory"):
            return PinnedBuffer(self.driver.pagelocked_empty(max(1, nbytes), np.uint8))

    def stream(self) -> CudaStream:
        """Return a new stream; inside an active device."""
        with _driver_errors(self.driver, "cannot make a CUDA stream"):
            return CudaStream(self.driver)

    def compile(self, source: str, options: list[str]) -> bytes:
        """Return a cubin for this device from CUDA source with nvcc. Raises EngineError where nvcc is missing or
        fails."""
        from pycuda.compiler import compile as compile_source

        remedy = (
            "Install the CUDA compiler (package cuda-nvcc) and put nvcc on the PATH, or build on a machine that has it."
        )
        arch = "sm_" + self.compute_capability.replace(".", "")
        try:
            return bytes(
                compile_source(
                    source, options=list(options), no_extern_c=True, arch=arch, cache_dir=False, target="cubin"
                )
            )
        except (OSError, self.driver.Error) as error:
            raise EngineError("cannot compile the CUDA kernels", asked=arch, found=error, remedy=remedy) from error

    def load(self, code: bytes) -> Any:
        """Return pycuda's module for a cubin or fatbin; inside an active device."""
        with _driver_errors(self.driver, "this GPU or driver does not take the compiled CUDA kernels"):
            return self.driver.module_from_buffer(code)

    def _release(self) -> None:
        # At exit only: engines of this process that are still open need the context until then.
        with contextlib.suppress(Exception):
            self._context.detach()


def cuda_device(index: int = 0) -> CudaDevice:
    """Return the process's GPU number ``index``. Raises EngineError where there is no pycuda, driver or GPU."""
    with _devices_lock:
        if index not in _devices:
            _devices[index] = CudaDevice(index)
        return _devices[index]


def gpus() -> list[tuple[str, str, int]]:
    """Return name, compute capability and bytes of memory of every GPU, without starting any.

    Raises EngineError where there is no pycuda or driver.
    """
    driver = _import_driver()
    with _driver_errors(driver, "the NVIDIA driver does not start", remedy=_DRIVER_REMEDY):
        driver.init()
        found = [driver.Device(index) for index in range(driver.Device.count())]
        return [(one.name(), "{}.{}".format(*one.compute_capability()), one.total_memory()) for one in found]


def gib(nbytes: int) -> str:
    """Return a size for people."""
    if nbytes < 2**20:
        return f"{nbytes} bytes"
    return f"{nbytes / 2**30:.2f} GiB" if nbytes >= 2**28 else f"{nbytes / 2**20:.1f} MiB"


_DRIVER_REMEDY = (
    "Check `nvidia-smi`; the driver has to be at least as new as TensorRT's CUDA asks for. "
    "Without a GPU use --backend onnxruntime."
)


def _import_driver() -> Any:
    try:
        from pycuda import driver
    except ImportError as error:
        if "libcuda" in str(error):
            raise EngineError(
                "this machine has no NVIDIA driver",
                found=error,
                remedy="Use --backend onnxruntime, or install the driver.",
            ) from error
        raise EngineError(
            "pycuda is not installed", found=error, remedy="pip install pycuda (it compiles; it needs CUDA's headers)."
        ) from error
    return driver


@contextlib.contextmanager
def _driver_errors(driver: Any, what: str, remedy: str | None = None) -> Iterator[None]:
    try:
        yield
    except driver.Error as error:
        raise EngineError(what, found=error, remedy=remedy) from error
