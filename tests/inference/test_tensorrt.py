"""Running under the double, in each generation: results, threads, shapes, graphs, memory and what goes wrong."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facesearch_trt.errors import EngineError
from facesearch_trt.inference import cuda_graph
from facesearch_trt.inference.build import BuildOrder, build_engine
from facesearch_trt.inference.cache import entries
from facesearch_trt.inference.device import cuda_device
from facesearch_trt.inference.engine import Engine
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.profiles import detector_profiles, embedder_profiles
from facesearch_trt.inference.tensorrt import TensorRTEngine, open_engine
from facesearch_trt.types import Array
from tests.doubles.gpu.contract import Violation
from tests.doubles.gpu.install import installed
from tests.doubles.gpu.machine import GpuMachine

from . import networks

BATCHES = (1, 4, 8)
PROFILES = embedder_profiles(networks.CHIP, BATCHES)
Opener = Callable[..., TensorRTEngine]


def chips(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0, 255, (count, 3, networks.CHIP, networks.CHIP)).astype(np.float32)


@pytest.fixture
def opened(gpu: GpuMachine, tmp_path: Path, embedder: Path) -> Opener:
    """Opens an engine of the small embedder in float32."""
    build_engine(BuildOrder("small", embedder, "fp32", PROFILES), tmp_path / "engines", cuda_device())
    return lambda **more: open_engine(
        "small", embedder, tmp_path / "engines", precision="fp32", profiles=PROFILES, **more
    )


@pytest.fixture
def reference(embedder: Path) -> Engine:
    return OnnxRuntimeEngine(embedder)


def test_it_serves_the_protocol(opened: Opener, reference: Engine) -> None:
    with opened() as engine:
        assert {name: (spec.shape, spec.dtype) for name, spec in engine.inputs.items()} == {
            "input": ((None, 3, 24, 24), "float32")
        }
        assert {name: (spec.shape, spec.dtype) for name, spec in engine.outputs.items()} == {
            "embedding": ((None, 8), "float32")
        }
        assert engine.max_batch == 8


def test_results_are_those_of_the_network_for_every_batch(opened: Opener, reference: Engine) -> None:
    with opened() as engine:
        for count in (1, 8, 3, 1, 1, 1, 5, 4, 4, 4, 8, 2):
            feeds = {"input": chips(count, count)}
            np.testing.assert_allclose(engine.infer(feeds)["embedding"], reference.infer(feeds)["embedding"], atol=1e-4)


def test_results_are_the_callers_own(opened: Opener) -> None:
    with opened(contexts=1) as engine:
        first = engine.infer({"input": chips(2, 1)})["embedding"]
        kept = first.copy()
        engine.infer({"input": chips(2, 2)})
        np.testing.assert_array_equal(first, kept)


def test_float16_and_int8_stay_near(gpu: GpuMachine, tmp_path: Path, embedder: Path, reference: Engine) -> None:
    profiles = embedder_profiles(networks.CHIP, [4])
    build_engine(BuildOrder("small", embedder, "fp16", profiles), tmp_path, cuda_device())
    with open_engine("small", embedder, tmp_path, precision="fp16", profiles=profiles) as engine:
        feeds = {"input": chips(4)}
        np.testing.assert_allclose(
            engine.infer(feeds)["embedding"], reference.infer(feeds)["embedding"], rtol=0.02, atol=0.05
        )


@pytest.mark.parametrize("contexts", [1, 2, 3])
def test_threads_do_not_mix_results(opened: Opener, reference: Engine, contexts: int) -> None:
    feeds = [{"input": chips(1 + seed % 5, seed)} for seed in range(24)]
    expected = [reference.infer(one)["embedding"] for one in feeds]
    with opened(contexts=contexts) as engine, ThreadPoolExecutor(6) as pool:
        for got, wanted in zip(pool.map(engine.infer, feeds), expected, strict=True):
            np.testing.assert_allclose(got["embedding"], wanted, atol=1e-4)


def test_a_repeated_shape_runs_as_a_graph(gpu: GpuMachine, opened: Opener, reference: Engine) -> None:
    with opened(contexts=1) as engine:
        for seed in range(6):
            feeds = {"input": chips(4, seed)}
            np.testing.assert_allclose(engine.infer(feeds)["embedding"], reference.infer(feeds)["embedding"], atol=1e-4)
        assert gpu.calls["graph launch"] == 5 and gpu.calls["execute"] == 2
        engine.infer({"input": chips(3)})
        assert gpu.calls["graph launch"] == 5 and not gpu.graphs


def test_without_graphs(gpu: GpuMachine, opened: Opener) -> None:
    with opened(contexts=1, cuda_graphs=False) as engine:
        for seed in range(3):
            engine.infer({"input": chips(4, seed)})
    assert gpu.calls["graph launch"] == 0 and gpu.calls["execute"] == 3


def test_where_recording_fails_it_says_so_and_runs_on(
    gpu: GpuMachine,
    opened: Opener,
    reference: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    library = cuda_graph._library

    def refuse(executable: object, graph: object, flags: object) -> int:
        return 801

    monkeypatch.setattr(library, "cuGraphInstantiateWithFlags", refuse, raising=False)
    with opened(contexts=1) as engine:
        for seed in range(4):
            feeds = {"input": chips(4, seed)}
            np.testing.assert_allclose(engine.infer(feeds)["embedding"], reference.infer(feeds)["embedding"], atol=1e-4)
    assert caplog.text.count("runs without CUDA graphs") == 1
    assert "cuGraphInstantiateWithFlags" in caplog.text and "801" in caplog.text


def test_wrong_names_types_and_shapes(opened: Opener) -> None:
    with opened() as engine:
        with pytest.raises(EngineError, match=r"wrong input names.*\['picture'\]; there is \['input'\]"):
            engine.infer({"picture": chips(1)})
        with pytest.raises(EngineError, match="float64; there is float32"):
            engine.infer({"input": chips(1).astype(np.float64)})
        for shape in ((9, 3, 24, 24), (1, 3, 24, 25), (1, 24, 24), (0, 3, 24, 24)):
            with pytest.raises(EngineError, match="not built for inputs of this shape") as caught:
                engine.infer({"input": np.zeros(shape, np.float32)})
            assert str(list(shape)) in str(caught.value) and "[8, 3, 24, 24]" in str(caught.value)
        # It goes on working.
        assert engine.infer({"input": chips(2)})["embedding"].shape == (2, 8)


def test_detectors_take_many_sizes(gpu: GpuMachine, tmp_path: Path) -> None:
    file = networks.write_yunet(tmp_path / "yunet.onnx")
    profiles = detector_profiles([1, 2], (96, 64), 128, 32)
    build_engine(BuildOrder("yunet", file, "fp32", profiles), tmp_path, cuda_device())
    random = np.random.default_rng(0)
    with (
        open_engine("yunet", file, tmp_path, precision="fp32", profiles=profiles) as engine,
        OnnxRuntimeEngine(file) as reference,
    ):
        assert list(engine.outputs) == list(reference.outputs)
        for shape in ((1, 3, 64, 96), (2, 3, 96, 64), (2, 3, 128, 128), (1, 3, 32, 32), (2, 3, 64, 96)):
            feeds = {"input": random.uniform(0, 255, shape).astype(np.float32)}
            for name, expected in reference.infer(feeds).items():
                np.testing.assert_allclose(engine.infer(feeds)[name], expected, atol=1e-4)


def test_everything_is_released_also_after_errors(gpu: GpuMachine, opened: Opener) -> None:
    with pytest.raises(EngineError), opened() as engine:
        engine.infer({"input": chips(4)})
        engine.infer({"input": chips(4)})
        engine.infer({"input": chips(9)})
    del engine
    gpu.check_clean()


def test_a_closed_engine_says_so(opened: Opener) -> None:
    engine = opened()
    engine.close()
    engine.close()
    for _ in range(3):
        with pytest.raises(EngineError, match="closed"):
            engine.infer({"input": chips(1)})


def test_closing_waits_for_calls_that_run(opened: Opener) -> None:
    engine = opened(contexts=1)
    entered, leave = threading.Event(), threading.Event()
    order: queue.SimpleQueue[str] = queue.SimpleQueue()

    def use() -> None:
        with engine.slot():
            entered.set()
            assert leave.wait(10)
            order.put("used")

    def close() -> None:
        engine.close()
        order.put("closed")

    user, closer = threading.Thread(target=use), threading.Thread(target=close)
    user.start()
    assert entered.wait(10)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive()
    leave.set()
    user.join(10)
    closer.join(10)
    assert [order.get(), order.get()] == ["used", "closed"]


def test_too_little_memory_for_the_contexts(tmp_path: Path, version: str) -> None:
    file = networks.write_centerface(tmp_path / "detector.onnx")
    profiles = detector_profiles([4], (640, 384), 640, 32)
    with installed(GpuMachine(), version):
        build_engine(BuildOrder("small", file, "fp32", profiles), tmp_path, cuda_device())
    with installed(GpuMachine(memory_bytes=70 << 20), version):
        with pytest.raises(EngineError, match="not enough GPU memory") as caught:
            open_engine("small", file, tmp_path, precision="fp32", profiles=profiles)
        assert "37.5 MiB for execution context 2 of small fp32, batch 4" in str(caught.value)
        assert "32.5 MiB free of 70.0 MiB" in str(caught.value)
        assert "--batch 2" in str(caught.value)
        del caught


def test_too_little_memory_for_a_batch(tmp_path: Path) -> None:
    file = networks.write_centerface(tmp_path / "detector.onnx")
    profiles = detector_profiles([4], (640, 384), 640, 32)
    with installed(GpuMachine(), "10.3.0"):
        build_engine(BuildOrder("small", file, "fp32", profiles), tmp_path, cuda_device())
    with (
        installed(GpuMachine(memory_bytes=50 << 20), "10.3.0"),
        open_engine("small", file, tmp_path, precision="fp32", profiles=profiles, contexts=1) as engine,
    ):
        with pytest.raises(EngineError, match=r"18\.8 MiB for input of small fp32.*MiB free.*smaller batch") as caught:
            engine.infer({"input": np.zeros((4, 3, 640, 640), np.float32)})
        del caught
        assert engine.infer({"input": np.zeros((1, 3, 64, 64), np.float32)})["heatmap"].shape == (1, 1, 16, 16)


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (
            GpuMachine(name="NVIDIA T4", compute_capability=(7, 5)),
            r"GPU NVIDIA T4, compute capability 7\.5; there is GPU NVIDIA Double",
        ),
        (GpuMachine(driver_version=11040), r"driver for CUDA 11\.4"),
    ],
)
def test_an_engine_of_another_machine(
    opened: Opener, version: str, tmp_path: Path, embedder: Path, machine: GpuMachine, told: str
) -> None:
    with installed(machine, version), pytest.raises(EngineError, match=told):
        open_engine("small", embedder, tmp_path / "engines", precision="fp32", profiles=PROFILES)


def test_an_engine_of_another_tensorrt(opened: Opener, tmp_path: Path, embedder: Path) -> None:
    with (
        installed(GpuMachine(), "10.7.0"),
        pytest.raises(EngineError, match=r"TensorRT 10\.7\.0; there is TensorRT .*build_engines\.py --models small"),
    ):
        open_engine("small", embedder, tmp_path / "engines", precision="fp32", profiles=PROFILES)


def test_a_plan_that_tensorrt_itself_refuses(gpu: GpuMachine, opened: Opener, tmp_path: Path) -> None:
    (entry,) = entries(tmp_path / "engines")
    plan = entry.path.read_bytes()
    with pytest.raises(EngineError, match=r"refuses the engine .*magicTagRead.*build_engines\.py"):
        TensorRTEngine(plan[:-1], cuda_device(), name="small")


def test_a_truncated_engine(gpu: GpuMachine, opened: Opener, tmp_path: Path) -> None:
    (entry,) = entries(tmp_path / "engines")
    entry.path.write_bytes(entry.path.read_bytes()[:-100])
    with pytest.raises(EngineError, match="truncated"):
        opened()


def test_an_exchanged_network_is_noticed(gpu: GpuMachine, opened: Opener, embedder: Path) -> None:
    embedder.write_bytes(embedder.read_bytes() + b"\x7a\x02x\x01")
    with pytest.raises(EngineError, match="ONNX sha256"):
        opened()


def test_8_6_needs_profiles_to_be_shared_at_the_build(
    tmp_path: Path, embedder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The double knows the rule, so the feature's absence would show."""
    from facesearch_trt.inference import build

    monkeypatch.setattr(build, "share_profiles", lambda trt, config: None)
    with installed(GpuMachine(), "8.6.0"):
        build_engine(BuildOrder("small", embedder, "fp32", PROFILES), tmp_path, cuda_device())
        engine = open_engine("small", embedder, tmp_path, precision="fp32", profiles=PROFILES, contexts=2)
        with engine, engine.slot() as first:
            first.infer({"input": chips(8)})
            with engine.slot() as second, pytest.raises(EngineError, match="another context"):
                second.infer({"input": chips(8)})


def test_work_that_nobody_waited_for_is_a_violation(gpu: GpuMachine, opened: Opener) -> None:
    """The double is late with everything, so that a missing wait gives a wrong result here too."""
    with opened(contexts=1) as engine, engine.slot() as slot:
        slot.prepare({"input": (1, 3, 24, 24)})
        slot.run()
        with pytest.raises(Violation, match="nobody waited"):
            gpu.context_stack.clear()
            gpu.check_clean()
        gpu.context_stack.append(None)
        slot.stream.synchronize()
