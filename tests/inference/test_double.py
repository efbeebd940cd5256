"""The double itself: it knows only recorded names, and what real hardware would punish it refuses."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

import numpy as np
import pytest

from tests.doubles.gpu.contract import TENSORRT_VERSIONS, Violation, tensorrt_names
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine
from tests.doubles.gpu.tensorrt_double import make_tensorrt


@pytest.mark.parametrize("version", TENSORRT_VERSIONS)
def test_it_has_no_name_that_the_version_lacks(version: str) -> None:
    trt = make_tensorrt(GpuMachine(), version)
    names = tensorrt_names(version)
    for name, value in vars(trt).items():
        if name.startswith("_"):
            continue
        assert name in names
        if isinstance(value, type):
            members = {member for kind in value.__mro__[:-2] for member in vars(kind) if not member.startswith("_")}
            if not hasattr(value, "_guard"):
                assert {f"{name}.{member}" for member in members} <= names


def test_names_of_other_versions_are_not_there() -> None:
    old, new = (make_tensorrt(GpuMachine(), version) for version in ("8.6.0", "11.4.0.106"))
    with pytest.raises(AttributeError, match=r"tensorrt 8\.6\.0 has no IProgressMonitor"):
        old.IProgressMonitor  # noqa: B018
    for gone in ("FP16", "INT8"):
        assert hasattr(old.BuilderFlag, gone) and not hasattr(new.BuilderFlag, gone)
    with pytest.raises(AttributeError):
        new.nonsense  # noqa: B018
    with pytest.raises(Violation, match="does not model"):
        new.Refitter  # noqa: B018


def test_attributes_of_objects_are_guarded(one_gpu: GpuMachine) -> None:
    trt = sys.modules["tensorrt"]
    with _active(one_gpu):
        builder = _builder(trt)
        config = builder.create_builder_config()
        with pytest.raises(AttributeError, match="no attribute 'max_workspace_size'"):
            config.max_workspace_size  # noqa: B018
        with pytest.raises(AttributeError, match="can be set"):
            config.max_workspace_size = 1
        with pytest.raises(Violation, match="does not model"):
            config.plugins_to_serialize  # noqa: B018
        with pytest.raises(AttributeError, match="no attribute 'build_engine'"):
            builder.build_engine  # noqa: B018


def test_a_logger_that_is_not_initialised_is_refused(one_gpu: GpuMachine) -> None:
    trt: Any = sys.modules["tensorrt"]

    class Lazy(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None: ...
        def log(self, severity: object, msg: str) -> None: ...

    with _active(one_gpu), pytest.raises(TypeError, match="must be called"):
        trt.Builder(Lazy())


def test_tensorrt_without_the_context(one_gpu: GpuMachine) -> None:
    with pytest.raises(Violation, match="without the primary context"):
        _builder(sys.modules["tensorrt"])


def test_pycuda_knows_only_its_own_names(one_gpu: GpuMachine) -> None:
    driver: Any = importlib.import_module("pycuda.driver")
    with pytest.raises(AttributeError, match="pycuda has no"):
        driver.mem_alloc_async  # noqa: B018
    with pytest.raises(Violation, match="does not model"):
        driver.mem_alloc_pitch  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pycuda.autoinit")


def test_contexts_of_ones_own_and_a_second_retain(one_gpu: GpuMachine) -> None:
    driver: Any = importlib.import_module("pycuda.driver")
    driver.init()
    with pytest.raises(Violation, match="make_context"):
        driver.Device(0).make_context()
    context = driver.Device(0).retain_primary_context()
    with pytest.raises(Violation, match="retained twice"):
        driver.Device(0).retain_primary_context()
    context.push()
    with pytest.raises(Violation, match="left current"):
        one_gpu.check_clean()
    driver.Context.pop()


def test_copies_want_living_page_locked_memory_and_a_stream(one_gpu: GpuMachine) -> None:
    driver: Any = importlib.import_module("pycuda.driver")
    with _active(one_gpu):
        memory = driver.mem_alloc(64)
        stream, pinned = driver.Stream(1), driver.pagelocked_empty(64, np.uint8)
        with pytest.raises(Violation, match="page-locked"):
            driver.memcpy_htod_async(int(memory), np.zeros(64, np.uint8), stream)
        with pytest.raises(Violation, match="no living device memory"):
            driver.memcpy_htod_async(int(memory) + 1, pinned, stream)
        with pytest.raises(Violation, match="default stream"):
            driver.memcpy_htod_async(int(memory), pinned)
        driver.memcpy_htod_async(int(memory), pinned, stream)
        memory.free()
        with pytest.raises(Violation, match="no living device memory"):
            stream.synchronize()
        pinned.base.free()
        del stream


def test_a_write_beside_a_buffer_is_found(one_gpu: GpuMachine) -> None:
    block = one_gpu.allocate(10)
    assert block is not None
    block.whole[block.address + 10 - block.whole.ctypes.data] = 0
    with pytest.raises(Violation, match="wrote beside"):
        one_gpu.free(block)
    one_gpu.blocks.clear()


def test_waiting_or_allocating_while_recording(one_gpu: GpuMachine) -> None:
    driver: Any = importlib.import_module("pycuda.driver")
    with _active(one_gpu):
        stream = driver.Stream(1)
        state = one_gpu.stream(stream.handle)
        state.recording, state.recorded_by = [], threading.get_ident()
        with pytest.raises(Violation, match="waited for while"):
            stream.synchronize()
        with pytest.raises(Violation, match="allocation"):
            driver.mem_alloc(10)
        state.recording = None
        del stream


def test_a_leak_fails_the_test_that_made_it() -> None:
    with pytest.raises(Violation, match="not released"), installed(GpuMachine(), "10.3.0") as machine:
        machine.allocate(10)


class _active:  # noqa: N801
    """The machine's context current, as the program's own device makes it."""

    def __init__(self, machine: GpuMachine) -> None:
        self.machine = machine

    def __enter__(self) -> None:
        self.machine.context_stack.append(self)

    def __exit__(self, *_: object) -> None:
        self.machine.context_stack.pop()


def _builder(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: object, msg: str) -> None: ...

    return trt.Builder(Logger())
