"""pycuda over host memory: ``pycuda``, ``pycuda.driver`` and ``pycuda.compiler`` for one machine."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from facesearch_trt.types import Array

from .contract import Violation, pycuda_names
from .kernels_on_cpu import KERNEL, compile_for_cpu, kernel_call
from .machine import Block, GpuMachine, StreamState

__all__ = ["make_pycuda"]

_CUBIN = b"CUBIN OF THE DOUBLE "
# 10 multiprocessors at 1 GHz, memory of 10 GHz (two transfers a clock at 5) over 128 bits.
_ATTRIBUTES = {
    "MULTIPROCESSOR_COUNT": 10,
    "CLOCK_RATE": 1_000_000,
    "MEMORY_CLOCK_RATE": 5_000_000,
    "GLOBAL_MEMORY_BUS_WIDTH": 128,
}


class _StrictModule(ModuleType):
    """A module that tells names that do not exist from those that the double lacks."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        short = f"{self.__name__.removeprefix('pycuda.')}.{name}"
        if short in pycuda_names():
            raise Violation(f"the double does not model {short}")
        raise AttributeError(f"pycuda has no {short}")


def make_pycuda(machine: GpuMachine, *, has_nvcc: bool = True) -> dict[str, ModuleType]:
    """Return the modules by name, for ``sys.modules``."""
    driver = _StrictModule("pycuda.driver")
    for name, value in _driver_names(machine).items():
        if name.split(".")[0] and f"driver.{name}" not in pycuda_names():
            raise Violation(f"the double has driver.{name}, pycuda has not")
        if isinstance(value, type):
            extra = {f"driver.{name}.{member}" for member in vars(value) if not member.startswith("_")} - pycuda_names()
            if extra:
                raise Violation(f"the double has {sorted(extra)}, pycuda has not")
        setattr(driver, name, value)
    compiler = _StrictModule("pycuda.compiler")
    compiler.compile = functools.partial(_compile, machine, driver, has_nvcc)  # type: ignore[attr-defined]
    package = ModuleType("pycuda")
    package.driver, package.compiler = driver, compiler  # type: ignore[attr-defined]
    return {"pycuda": package, "pycuda.driver": driver, "pycuda.compiler": compiler}


def _driver_names(machine: GpuMachine) -> dict[str, Any]:  # noqa: PLR0915
    class Error(Exception): ...

    class LogicError(Error): ...

    class MemoryError(Error): ...  # noqa: A001

    class RuntimeError(Error): ...  # noqa: A001

    class LaunchError(Error): ...

    started = False

    def needs_context(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(*arguments: Any, **keywords: Any) -> Any:
            if not machine.has_context:
                raise LogicError("invalid device context - no currently active context?")
            machine.calls[function.__name__] += 1
            return function(*arguments, **keywords)

        return checked

    def init(flags: int = 0) -> None:
        nonlocal started
        if machine.driver_version == 0:
            raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
        started = True

    class Context:
        handle = 0xC0DE

        def __init__(self) -> None:
            self._detached = False

        def push(self) -> None:
            if self._detached:
                raise LogicError("cannot activate dead context")
            machine.context_stack.append(self)

        @staticmethod
        def pop() -> None:
            if not machine.context_stack:
                raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
            machine.context_stack.pop()

        @staticmethod
        def synchronize() -> None:
            if not machine.context_stack:
                raise LogicError("cuCtxSynchronize failed: invalid device context")
            machine.synchronize_device()

        def detach(self) -> None:
            self._detached = True

    class Device:
        def __init__(self, number: int) -> None:
            if not started:
                raise LogicError("cuDeviceGet failed: initialization error")
            if number != 0:
                raise LogicError("cuDeviceGet failed: invalid device ordinal")

        @staticmethod
        def count() -> int:
            if not started:
                raise LogicError("cuDeviceGetCount failed: initialization error")
            return 1

        def name(self) -> str:
            return machine.name

        def compute_capability(self) -> tuple[int, int]:
            return machine.compute_capability

        def total_memory(self) -> int:
            return machine.memory_bytes

        def get_attribute(self, attribute: str) -> int:
            return _ATTRIBUTES[attribute]

        def retain_primary_context(self) -> Context:
            if machine.retained_by is not None:
                raise Violation("the primary context was retained twice: pycuda keeps one object per retain apart")
            machine.retained_by = threading.get_ident()
            return Context()

        def make_context(self, flags: int = 0) -> None:
            raise Violation("make_context makes a context of its own, which TensorRT does not use")

    class DeviceAllocation:
        def __init__(self, nbytes: int) -> None:
            block = machine.allocate(nbytes)
            if block is None:
                raise MemoryError("cuMemAlloc failed: out of memory")
            self._block = block

        def __int__(self) -> int:
            return self._block.address

        def free(self) -> None:
            _freeing("device memory")
            machine.free(self._block)

    def _freeing(what: str) -> None:
        if not machine.has_context:
            raise Violation(f"{what} was freed without the context: pycuda leaks it in any thread but one")

    class PagelockedHostAllocation:
        """Owner of page-locked memory, the base of the array as in pycuda."""

        def __init__(self, block: Block) -> None:
            self._block = block
            self.__array_interface__ = block.body.__array_interface__

        def free(self) -> None:
            _freeing("page-locked memory")
            machine.free(self._block)

    def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Array:
        if np.dtype(dtype) != np.uint8 or not isinstance(shape, int):
            raise Violation("the double models page-locked memory as bytes only")
        block = machine.allocate(shape, "page-locked")
        assert block is not None
        return np.asarray(PagelockedHostAllocation(block))

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            if not machine.has_context:
                raise LogicError("explicit_context_dependent failed: invalid device context")
            self._handle = machine.new_handle()
            machine.streams[self._handle] = StreamState(self._handle)
            weakref.finalize(self, machine.streams.pop, self._handle, None)

        @property
        def handle(self) -> int:
            return self._handle

        def synchronize(self) -> None:
            if not machine.has_context:
                raise LogicError("cuStreamSynchronize failed: invalid device context")
            machine.calls["synchronize"] += 1
            machine.synchronize(self._handle)

    def put(stream: Any, work: Callable[[], None]) -> None:
        if not isinstance(stream, Stream):
            raise Violation("work was put into the default stream")
        machine.stream(stream.handle).put(work)

    @needs_context
    def memcpy_htod_async(dest: int, src: Array, stream: Any = None) -> None:
        machine.require_pinned(src)
        machine.device_bytes(int(dest), src.nbytes)
        put(stream, lambda: np.copyto(machine.device_bytes(int(dest), src.nbytes), src.reshape(-1).view(np.uint8)))

    @needs_context
    def memcpy_dtoh_async(dest: Array, src: int, stream: Any = None) -> None:
        machine.require_pinned(dest)
        machine.device_bytes(int(src), dest.nbytes)
        put(stream, lambda: np.copyto(dest.reshape(-1).view(np.uint8), machine.device_bytes(int(src), dest.nbytes)))

    @needs_context
    def memcpy_dtod_async(dest: int, src: int, size: int, stream: Any = None) -> None:
        put(stream, lambda: np.copyto(machine.device_bytes(int(dest), size), machine.device_bytes(int(src), size)))

    @needs_context
    def memset_d8_async(dest: int, data: int, size: int, stream: Any = None) -> None:
        put(stream, lambda: machine.device_bytes(int(dest), size).fill(data))

    @needs_context
    def mem_get_info() -> tuple[int, int]:
        return machine.memory_bytes - machine.used_bytes, machine.memory_bytes

    class Function:
        def __init__(self, source: str, name: str) -> None:
            self._source, self._name = source, name

        def __call__(
            self, *arguments: object, block: tuple[int, ...], grid: tuple[int, ...], stream: Any = None, shared: int = 0
        ) -> None:
            if not machine.has_context:
                raise LogicError("cuLaunchKernel failed: invalid device context")
            put(stream, kernel_call(self._source, self._name, arguments, block, grid))

    class Module:
        def __init__(self, source: str) -> None:
            self._source = source

        def get_function(self, name: str) -> Function:
            if name not in {match[1] for match in KERNEL.finditer(self._source)}:
                raise LogicError("cuModuleGetFunction failed: named symbol not found")
            return Function(self._source, name)

    @needs_context
    def module_from_buffer(buffer: bytes) -> Module:
        if not buffer.startswith(_CUBIN):
            raise LogicError("cuModuleLoadDataEx failed: device kernel image is invalid - ")
        arch, source = buffer.removeprefix(_CUBIN).split(b"\n", 1)
        if arch.decode() != "sm_{}{}".format(*machine.compute_capability):
            raise LogicError("cuModuleLoadDataEx failed: no kernel image is available for execution on the device - ")
        return Module(source.decode())

    @needs_context
    def mem_alloc(nbytes: int) -> DeviceAllocation:
        return DeviceAllocation(nbytes)

    class device_attribute:  # noqa: N801
        MULTIPROCESSOR_COUNT = "MULTIPROCESSOR_COUNT"
        CLOCK_RATE = "CLOCK_RATE"
        MEMORY_CLOCK_RATE = "MEMORY_CLOCK_RATE"
        GLOBAL_MEMORY_BUS_WIDTH = "GLOBAL_MEMORY_BUS_WIDTH"

    local = locals()
    names = (
        "Error LogicError MemoryError RuntimeError LaunchError init Context Device DeviceAllocation mem_alloc Stream "
        "PagelockedHostAllocation memcpy_htod_async memcpy_dtoh_async memcpy_dtod_async memset_d8_async mem_get_info Function "
        "Module module_from_buffer device_attribute"
    )
    return {
        **{name: local[name] for name in names.split()},
        "pagelocked_empty": needs_context(pagelocked_empty),
        "get_driver_version": lambda: machine.driver_version,
    }


def _compile(
    machine: GpuMachine,
    driver: Any,
    has_nvcc: bool,
    source: str,
    nvcc: str = "nvcc",
    options: Sequence[str] | None = None,
    keep: bool = False,
    no_extern_c: bool = False,
    arch: str | None = None,
    code: str | None = None,
    cache_dir: str | bool | None = None,
    include_dirs: Sequence[str] | None = None,
    target: str = "cubin",
) -> bytes:
    if not has_nvcc:
        raise OSError(f"{nvcc} was not found (is it on the PATH?) [[Errno 2] No such file or directory: {nvcc!r}]")
    if not no_extern_c:
        raise Violation('the source has its own extern "C"; pycuda would put another around includes and templates')
    if "-fmad=false" not in (options or ()):
        raise Violation("without -fmad=false the device rounds differently from the CPU")
    compile_for_cpu(source)
    machine.calls["compile"] += 1
    return _CUBIN + f"{arch}\n{source}".encode()
