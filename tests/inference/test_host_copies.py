"""Device memory of others, copied to the host."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np

from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.host_copies import HostCopies
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine


def test_a_copy_waits_for_the_memorys_owner() -> None:
    with installed(GpuMachine(foreign_memory=True), "10.3.0") as machine:
        memory = np.arange(100, dtype=np.uint8)
        with contextlib.closing(HostCopies(cuda_device())) as copies:
            for count in (10, 100, 50):
                copy = copies(memory.ctypes.data, count)
                assert np.array_equal(copy, memory[:count]) and not np.shares_memory(copy, memory)
        assert machine.calls["synchronize_device"] == 3


def test_pieces_come_at_once_after_one_wait_for_the_device() -> None:
    with installed(GpuMachine(foreign_memory=True), "10.3.0") as machine:
        memory = np.arange(200, dtype=np.uint8)
        start = memory.ctypes.data
        with contextlib.closing(HostCopies(cuda_device())) as copies, copies.ready() as fetch:
            for _ in range(3):
                first, second = fetch([(start + 100, 60), (start, 20)])
                assert np.array_equal(first, memory[100:160]) and np.array_equal(second, memory[:20])
        assert machine.calls["synchronize_device"] == 1


def test_who_copies_at_the_same_time_has_memory_of_his_own() -> None:
    with installed(GpuMachine(foreign_memory=True), "10.3.0"):
        memory = np.arange(100, dtype=np.uint8)
        with contextlib.closing(HostCopies(cuda_device())) as copies, copies.ready() as fetch:
            (mine,) = fetch([(memory.ctypes.data, 50)])
            other = threading.Thread(target=copies, args=(memory.ctypes.data + 50, 50))
            other.start()
            other.join(10)
            assert not other.is_alive() and np.array_equal(mine, memory[:50])


def test_the_device_is_not_waited_for_while_a_stream_is_recorded() -> None:
    with installed(GpuMachine(foreign_memory=True), "10.3.0") as machine:
        memory = np.zeros(10, np.uint8)
        device = cuda_device()
        with contextlib.closing(HostCopies(device)) as copies:
            thread = threading.Thread(target=copies, args=(memory.ctypes.data, 10))
            with device.recording:
                thread.start()
                time.sleep(0.1)
                assert not machine.calls["synchronize_device"]
            thread.join(10)
        assert machine.calls["synchronize_device"] == 1
