"""The hardware: memory, streams whose work is done late, contexts per thread, and the count of what is alive."""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from facesearch_trt.types import Array

from .contract import Violation

__all__ = ["Block", "GpuMachine", "StreamState"]

_GUARD = 256
_GUARD_BYTE, _FRESH_BYTE = 0xA5, 0xCD


@dataclass
class Block:
    """Memory between two guards."""

    whole: Array
    nbytes: int
    kind: str

    @property
    def _start(self) -> int:
        # Aligned as the driver does it.
        return _GUARD + -(self.whole.ctypes.data + _GUARD) % _GUARD

    @property
    def address(self) -> int:
        return int(self.whole.ctypes.data) + self._start

    @property
    def body(self) -> Array:
        return self.whole[self._start : self._start + self.nbytes]

    def check(self) -> None:
        for guard in (self.whole[: self._start], self.whole[self._start + self.nbytes :]):
            if (guard != _GUARD_BYTE).any():
                raise Violation(f"something wrote beside {self.nbytes} bytes of {self.kind} memory")


@dataclass
class StreamState:
    """Work that waits, or that is being recorded for a graph."""

    handle: int
    waiting: list[Callable[[], None]] = field(default_factory=list)
    recording: list[Callable[[], None]] | None = None
    recorded_by: int = 0
    broken: bool = False

    def put(self, work: Callable[[], None]) -> None:
        (self.waiting if self.recording is None else self.recording).append(work)


class GpuMachine:
    """A GPU with its driver. What happens in streams happens only when one of them is waited for, so a missing wait shows."""

    def __init__(
        self,
        *,
        foreign_memory: bool = False,
        name: str = "NVIDIA Double 3000",
        compute_capability: tuple[int, int] = (8, 6),
        memory_bytes: int = 4 << 30,
        driver_version: int = 12040,
    ) -> None:
        self.foreign_memory = foreign_memory
        """Whether another library has memory on the device, of which nothing is known: its addresses are taken at their word."""
        self.name = name
        self.compute_capability = compute_capability
        self.memory_bytes = memory_bytes
        self.driver_version = driver_version
        self.blocks: dict[int, Block] = {}
        self.pinned: dict[int, Block] = {}
        self.streams: dict[int, StreamState] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.alive: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.retained_by: int | None = None
        self.peak_bytes = 0
        self._local = threading.local()
        self._lock = threading.RLock()
        self._next_handle = 0x1000

    # Contexts.

    @property
    def context_stack(self) -> list[object]:
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[object] = self._local.stack
        return stack

    @property
    def has_context(self) -> bool:
        return bool(self.context_stack)

    # Memory.

    @property
    def used_bytes(self) -> int:
        return sum(block.nbytes for block in self.blocks.values())

    def allocate(self, nbytes: int, kind: str = "device") -> Block | None:
        with self._lock:
            self._not_while_recording("allocation")
            if kind == "device" and self.used_bytes + nbytes > self.memory_bytes:
                return None
            whole = np.full(nbytes + 3 * _GUARD, _GUARD_BYTE, np.uint8)
            block = Block(whole, nbytes, kind)
            block.body[:] = _FRESH_BYTE
            (self.blocks if kind == "device" else self.pinned)[block.address] = block
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
            return block

    def free(self, block: Block) -> None:
        with self._lock:
            block.check()
            table = self.blocks if block.kind == "device" else self.pinned
            if table.pop(block.address, None) is None:
                raise Violation("memory was freed twice")
            block.body[:] = _FRESH_BYTE

    def device_bytes(self, address: int, nbytes: int) -> Array:
        """Return the bytes at a device address."""
        if self.foreign_memory and not any(
            start <= address < start + block.nbytes for start, block in self.blocks.items()
        ):
            return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), np.uint8)
        return self._bytes(self.blocks, address, nbytes, "device")

    def require_pinned(self, host: Array) -> None:
        self._bytes(self.pinned, host.ctypes.data, host.nbytes, "page-locked")

    def _bytes(self, table: dict[int, Block], address: int, nbytes: int, kind: str) -> Array:
        with self._lock:
            for start, block in table.items():
                if start <= address and address + nbytes <= start + block.nbytes:
                    return block.body[address - start : address - start + nbytes]
        raise Violation(f"{nbytes} bytes at {address:#x} are no living {kind} memory")

    # Streams.

    def new_handle(self) -> int:
        with self._lock:
            self._next_handle += 0x10
            return self._next_handle

    def stream(self, handle: int) -> StreamState:
        if handle == 0:
            raise Violation("the default stream was used; TensorRT would wait for the whole device at every run")
        if handle not in self.streams:
            raise Violation(f"stream {handle:#x} does not exist")
        return self.streams[handle]

    def synchronize(self, handle: int) -> None:
        stream = self.stream(handle)
        if stream.recording is not None:
            stream.broken = True
            raise Violation("a stream was waited for while it was recorded")
        while stream.waiting:
            stream.waiting.pop(0)()

    def synchronize_device(self) -> None:
        """Wait for the work of others, of which the double has none."""
        self.calls["synchronize_device"] += 1
        for stream in self.streams.values():
            if stream.recording is not None:
                stream.broken = True
                raise Violation("the device was waited for while a stream was recorded")

    def _not_while_recording(self, what: str) -> None:
        for stream in self.streams.values():
            if stream.recording is not None and stream.recorded_by == threading.get_ident():
                stream.broken = True
                raise Violation(f"{what} in a thread that records a stream")

    # What is left.

    def check_clean(self) -> None:
        """Raise Violation where anything was left allocated, running or current."""
        if self.context_stack:
            raise Violation("a context was left current: pycuda aborts the process at exit")
        for stream in self.streams.values():
            if stream.waiting:
                raise Violation("work was left in a stream that nobody waited for")
        left = {
            "device memory": [block.nbytes for block in self.blocks.values()],
            "page-locked memory": [block.nbytes for block in self.pinned.values()],
            "streams": list(self.streams),
            "graphs": list(self.graphs),
            **{name: count for name, count in self.alive.items() if count},
        }
        if any(left.values()):
            raise Violation(f"not released: { {name: what for name, what in left.items() if what} }")
