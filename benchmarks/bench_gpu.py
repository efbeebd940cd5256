#!/usr/bin/env python3
"""Images per second on the GPU: each engine by batch and precision, and the whole way from frames in device memory to embeddings.

    python benchmarks/bench_gpu.py [--pack open] [--precisions fp32 fp16] [--batches 1 8 32] [--size 1280x736] [--seconds 2]
                                   [--engines DIR] [--output FILE.md]

Columns of the table: ``device``: the network alone, inputs and outputs in device memory, launched as a CUDA graph; ``host``: the same
through ``infer``, arrays of the host in and out, from as many threads as there are execution contexts; ``onnxruntime``: ONNX Runtime on
the same GPU where its CUDA provider is installed; ``limit``: what the card's arithmetic and memory allow at most, and the share of it
that ``device`` reaches. The second table is the device way: letterbox, detector, selection of cells, decoding on the host, 5-point warp,
embedder, for frames that hold the self-test's face several times.

Needs a GPU with TensorRT; engines are built on first use (minutes). The figures are for the card, driver and versions in the first line.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from card_limits import Cost, card_limits, network_cost

from facesearch_trt.config import Options
from facesearch_trt.errors import EngineError
from facesearch_trt.faces.align import Aligner
from facesearch_trt.faces.decode import Look
from facesearch_trt.faces.detect import Detector
from facesearch_trt.faces.letterbox import Letterbox
from facesearch_trt.inference.build import BuildOrder, build_engine, this_machine
from facesearch_trt.inference.device import CudaDevice, cuda_device
from facesearch_trt.inference.device_faces import DeviceFaces
from facesearch_trt.inference.device_frames import DeviceFrame
from facesearch_trt.inference.heads import head_groups
from facesearch_trt.inference.kernels import Pixels, load_kernels
from facesearch_trt.inference.onnxruntime import OnnxRuntimeEngine
from facesearch_trt.inference.profiles import Profile, detector_profiles, embedder_profiles
from facesearch_trt.inference.tensorrt import TensorRTEngine, open_engine
from facesearch_trt.inference.verify import selftest_picture
from facesearch_trt.models.entries import DetectorEntry, EmbedderEntry
from facesearch_trt.models.prepare import prepare_detector, prepare_embedder
from facesearch_trt.types import Array, DetectorSpec, EmbedderSpec, FaceBatch
from facesearch_trt.wiring import Tools, engines_of

CONTEXTS = 2


@dataclass(frozen=True)
class Network:
    """One network of the benchmark."""

    name: str
    onnx: Path
    spec: DetectorSpec | EmbedderSpec
    profiles: tuple[Profile, ...]
    height: int
    width: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Images per second on the GPU.")
    parser.add_argument("--pack", default="open")
    parser.add_argument("--models-file", type=Path)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16"], choices=["fp32", "fp16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--size", default="1280x736", help="width x height of the detector's input, multiples of 32")
    parser.add_argument("--seconds", type=float, default=2.0, help="to measure each figure for")
    parser.add_argument("--engines", help="directory of engines")
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    args = parser.parse_args()
    options = Options(pack=args.pack, models_file=args.models_file and str(args.models_file), engines=args.engines)
    width, height = (int(part) for part in args.size.split("x"))
    device, directory = cuda_device(), engines_of(options)
    networks = networks_of(options, args.batches, width, height)
    lines = heading(device)
    for network in networks:
        cost = network_cost(network.onnx, network.height, network.width)
        for precision in args.precisions:
            build(network, precision, directory, device)
            for batch in args.batches:
                lines.append(engine_row(network, precision, batch, directory, device, cost, args.seconds))
                print(lines[-1], flush=True)
    lines += ["", "| precision | frames per batch | frames/s | faces/s |", "|-|-|-|-|"]
    for precision in args.precisions:
        for batch in args.batches:
            lines.append(device_way_row(networks, precision, batch, directory, device, args.seconds))
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print("\n" + text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


def heading(device: CudaDevice) -> list[str]:
    """Return what the figures are for, and the head of the first table."""
    machine, limits = this_machine(device), card_limits(device)
    peaks = ", ".join(f"{name} {limits[name] / 1e12:.1f} TFLOPS" for name in ("fp32", "fp16"))
    return [
        f"{machine.gpu} (sm {machine.compute_capability}), driver for CUDA {device.driver_version}, TensorRT {machine.tensorrt}; "
        f"card: {peaks}, memory {limits['memory'] / 1e9:.0f} GB/s",
        "",
        "| network | precision | batch | device, images/s | host, images/s | onnxruntime on the GPU, images/s | limit, images/s | reached |",
        "|-|-|-|-|-|-|-|-|",
    ]


def networks_of(options: Options, batches: Sequence[int], width: int, height: int) -> tuple[Network, Network]:
    """Return the pack's detector and embedder."""
    with Tools(options) as tools:
        found: DetectorEntry = tools.detector_entry
        known: EmbedderEntry = tools.embedder_entry
    detector, embedder = prepare_detector(found), prepare_embedder(known, keep_prelu=True)
    shapes = detector_profiles(batches, (width, height), max(width, height), detector.multiple)
    side = embedder.chip_size
    return (
        Network(found.name, detector.onnx, detector, shapes, height, width),
        Network(known.name, embedder.onnx, embedder, embedder_profiles(side, batches), side, side),
    )


def build(network: Network, precision: str, directory: Path, device: CudaDevice) -> None:
    """Build an engine if it is not there."""
    print(f"{network.name} {precision}: engine", flush=True)
    build_engine(BuildOrder(network.name, network.onnx, precision, network.profiles), directory, device)


def opened(network: Network, precision: str, directory: Path) -> TensorRTEngine:
    """Open a built engine."""
    return open_engine(
        network.name, network.onnx, directory, precision=precision, profiles=network.profiles, contexts=CONTEXTS
    )


def engine_row(
    network: Network, precision: str, batch: int, directory: Path, device: CudaDevice, cost: Cost, seconds: float
) -> str:
    """Measure one engine with one batch size."""
    shape = (batch, 3, network.height, network.width)
    feeds = {"input": np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)}
    with opened(network, precision, directory) as engine:
        with engine.slot() as slot:
            slot.infer(feeds)
            slot.run()
            slot.stream.synchronize()

            def many() -> None:
                for _ in range(8):
                    slot.run()
                slot.stream.synchronize()

            on_device = rate(many, 8 * batch, seconds)
        on_host = rate(lambda: engine.infer(feeds), batch, seconds, threads=CONTEXTS)
    limits = card_limits(device)
    by_memory = limits["memory"] / cost.bytes(precision, batch)
    limit = min(limits[precision] / cost.flops, by_memory) if limits[precision] else by_memory
    other = onnxruntime_rate(network, feeds, batch, seconds)
    return (
        f"| {network.name} {network.width}x{network.height} | {precision} | {batch} | {on_device:.0f} | {on_host:.0f} | "
        f"{other} | {limit:.0f} | {on_device / limit:.0%} |"
    )


def onnxruntime_rate(network: Network, feeds: Mapping[str, Array], batch: int, seconds: float) -> str:
    """Measure ONNX Runtime's CUDA provider in float32, where it is installed."""
    try:
        engine = OnnxRuntimeEngine(network.onnx, providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
    except EngineError:
        return "not installed"
    with engine:
        return f"{rate(lambda: engine.infer(feeds), batch, seconds):.0f}"


def device_way_row(
    networks: tuple[Network, Network], precision: str, batch: int, directory: Path, device: CudaDevice, seconds: float
) -> str:
    """Measure the whole way for frames that lie in device memory."""
    detector, embedder = (network.spec for network in networks)
    assert isinstance(detector, DetectorSpec)
    assert isinstance(embedder, EmbedderSpec)
    with ExitStack() as stack:
        engines = [stack.enter_context(opened(network, precision, directory)) for network in networks]
        cpu = Detector(
            engines[0],
            detector,
            long_side=max(networks[0].width, networks[0].height),
            close_up_size=0,
            score_threshold=None,
            nms_iou=0.3,
            min_face_px=12.0,
        )
        read = cpu.faces_from_outputs

        def faces_of(looks: Sequence[tuple[Mapping[str, Array], int, Letterbox]], width: int, height: int) -> FaceBatch:
            return read([Look(*look) for look in looks], width, height)

        with device.active():
            kernels = load_kernels(device, directory)
            frames = frames_on_device(device, stack, batch)
        way = DeviceFaces(
            engines[0],
            engines[1],
            kernels,
            cpu.letterboxes,
            faces_of,
            Aligner(embedder.template, embedder.chip_size).transforms,
            head_groups(detector.decoder, list(engines[0].outputs)),
            read.score_threshold,
            Pixels(detector.colour, detector.mean, detector.std),
            Pixels(embedder.colour, embedder.mean, embedder.std),
            embedder.chip_size,
        )
        faces = sum(len(one) for one in way(frames))
        frames_per_second = rate(lambda: way(frames), batch, seconds, threads=CONTEXTS)
    return f"| {precision} | {batch} | {frames_per_second:.0f} | {frames_per_second * faces / batch:.0f} |"


def frames_on_device(device: CudaDevice, stack: ExitStack, count: int) -> list[DeviceFrame]:
    """Put Full HD frames into device memory, each with eight faces; inside an active device."""
    picture = selftest_picture()
    image = np.zeros((1080, 1920, 3), np.uint8)
    for row in range(2):
        for column in range(4):
            y, x = 100 + 500 * row, 100 + 450 * column
            image[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    host, stream = device.pinned(image.nbytes), device.stream()
    host.view(image.shape, np.uint8)[...] = image
    frames = []
    for _ in range(count):
        buffer = device.allocate(image.nbytes, "a frame")
        stack.callback(_close, device, buffer)
        stream.upload(buffer.pointer, host.view(image.shape, np.uint8))
        frames.append(DeviceFrame("bgr", 1920, 1080, (buffer.pointer,), (3 * 1920,)))
    stream.synchronize()
    host.close()
    stream.close()
    return frames


def _close(device: CudaDevice, buffer: Any) -> None:
    with device.active():
        buffer.close()


def rate(work: Callable[[], object], images: int, seconds: float, threads: int = 1) -> float:
    """Return images per second of ``work``, which does ``images`` at a time, from several threads at once."""
    work()
    counts = [0] * threads
    start = time.perf_counter()

    def loop(index: int) -> None:
        while time.perf_counter() - start < seconds:
            work()
            counts[index] += 1

    if threads == 1:
        loop(0)  # A slot belongs to the thread that took it.
    else:
        workers = [threading.Thread(target=loop, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return images * sum(counts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
