"""``facesearch build``: once per machine, fetch the weights, make the ONNX files and build what the networks run on."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import Options
from ..deepstream_tools import nvinfer_orders, picture_sizes
from ..errors import DecodeError, EngineError, StallError, UnknownModelError
from ..graph.inputs import find_clips
from ..inference.build import BuildOrder, build_engine, this_machine
from ..inference.cache import EngineEntry, Machine, entries
from ..inference.choose import Backend, NetworkOrder
from ..inference.device import CudaDevice, cuda_device
from ..inference.kernels import load_kernels
from ..inference.onnxruntime import OnnxRuntimeEngine
from ..inference.tensorrt import tensorrt_problem
from ..models.entries import DetectorEntry, EmbedderEntry
from ..models.prepare import prepare_detector, prepare_embedder
from ..types import DetectorSpec, EmbedderSpec
from ..wiring import Tools, detector_order, embedder_order, engines_of
from .build_int8 import Int8Data, cost_of_engine, int8_data, make_cpu_int8
from .flags import add_option_flags, options_from
from .verification import verify_machine

__all__ = ["register"]

_KEPT = frozenset(
    "pack detector embedder models_file backend precision engines detector_size detect_batch embed_batch force".split()
)
"""The options that mean something here."""


@dataclass(frozen=True, slots=True)
class _Network:
    order: NetworkOrder
    spec: DetectorSpec | EmbedderSpec


def register(subparsers: Any) -> None:
    """Add the sub-command."""
    help_text = "once per machine: weights, ONNX files and TensorRT engines (or, without a GPU, ONNX Runtime's side)"
    parser = subparsers.add_parser("build", help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    add = parser.add_argument
    add("--models", nargs="+", metavar="NAME", help="build these networks instead of the pack's two")
    add(
        "--clips",
        type=Path,
        metavar="ROOT",
        help="also the engines with which the DeepStream graph looks at these clips",
    )
    add(
        "--frame-size",
        action="append",
        default=[],
        type=_size,
        metavar="WxH",
        help="as --clips, for pictures of this size; of cameras, with --batch for how many there are",
    )
    add("--batch", type=int, metavar="N", help="largest batch, instead of detect_batch and embed_batch")
    add("--calibrate", type=Path, metavar="ROOT", help="for int8: a directory of processed clips with faces")
    add("--workspace-mib", type=int, default=0, metavar="MIB", help="most scratch memory; 0 for no limit [0]")
    add("--optimization-level", type=int, default=3, choices=range(6), help="0 builds fastest, 5 runs fastest [3]")
    add("--list", action="store_true", help="list the engines that are there, and which fit this machine")
    add("--verify", action="store_true", help="then compare every backend with ONNX Runtime on a picture")
    add_option_flags(parser, only=_KEPT)
    parser.set_defaults(call=_build)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size like 1920x1080")
    return int(match[1]), int(match[2])


def _build(args: argparse.Namespace) -> int:
    options = options_from(args)
    if args.batch is not None:
        options = replace(options, detect_batch=args.batch, embed_batch=args.batch)
    if args.list:
        _list(engines_of(options))
        return 0
    networks = _networks(args, options)
    problem = "--backend onnxruntime was given" if options.backend == "onnxruntime" else tensorrt_problem()
    if problem is not None and options.backend == "tensorrt":
        raise EngineError(f"TensorRT cannot be used: {problem}")
    data = _int8_data(args, networks, options)
    if problem is None:
        _build_engines(args, networks, data, options)
    else:
        _prepare_cpu(networks, data, options, problem)
    return _verify(options) if args.verify else 0


def _networks(args: argparse.Namespace, options: Options) -> list[_Network]:
    with Tools(options) as tools:
        known = tools.catalogue.models
        for name in args.models or ():
            if name not in known:
                raise UnknownModelError("no such model", asked=name, found=", ".join(sorted(known)))
        wanted = [known[name] for name in args.models] if args.models else [tools.detector_entry, tools.embedder_entry]
    networks = []
    for entry in wanted:
        print(f"{entry.name}: fetching and converting", flush=True)
        if isinstance(entry, DetectorEntry):
            order, detector = detector_order(entry, options), prepare_detector(entry)
            networks.append(_Network(order, detector))
        else:
            assert isinstance(entry, EmbedderEntry)
            networks.append(_Network(embedder_order(entry, options), prepare_embedder(entry)))
    return networks


def _graph_networks(args: argparse.Namespace, options: Options) -> list[_Network]:
    """Return the detector at each size at which the DeepStream graph looks at the clips and pictures that were named."""
    sizes: set[tuple[int, int]] = set(args.frame_size)
    for clip in find_clips(args.clips) if args.clips else ():
        try:
            sizes.update(picture_sizes([clip], stall_timeout_s=options.stall_timeout_s).values())
        except (DecodeError, StallError) as error:
            print(f"{clip.name}: no engine for it: {error}")
    if not sizes:
        return []
    # How frames lie in the network's input is read from its ONNX file.
    with Tools(replace(options, backend="onnxruntime", precision="fp32")) as tools:
        batch = tools.clips_at_once if args.batch is None else args.batch
        orders = nvinfer_orders(tools.detector_entry, tools.detector, sizes, batch)
        return [_Network(order, tools.detector.spec) for order in orders]


def _int8_data(args: argparse.Namespace, networks: list[_Network], options: Options) -> dict[str, Int8Data]:
    if options.precision != "int8":
        return {}
    if args.calibrate is None:
        raise EngineError(
            "int8 needs pictures to measure the networks' ranges on",
            remedy="Give a directory of processed clips with --calibrate ROOT.",
        )
    return {network.order.model: int8_data(args.calibrate, network.spec, options) for network in networks}


def _build_engines(
    args: argparse.Namespace, networks: list[_Network], data: dict[str, Int8Data], options: Options
) -> None:
    device, directory = cuda_device(), engines_of(options)
    machine = this_machine(device)
    precision = "fp16" if options.precision == "auto" else options.precision
    print(f"{machine.gpu}, compute capability {machine.compute_capability}, TensorRT {machine.tensorrt}: {precision}")
    for network in [*networks, *_graph_networks(args, options)]:
        order = network.order
        pictures = data.get(order.model)
        build = BuildOrder(
            order.model,
            order.onnx_for_tensorrt,
            precision,
            order.profiles,
            pictures.calibration() if pictures else None,
            args.workspace_mib,
            args.optimization_level,
        )
        report = _on_terminal if sys.stderr.isatty() else None
        entry = build_engine(build, directory, device, force=options.force, progress=report)
        print(f"{order.model}: {entry.path} ({entry.nbytes / 1e6:.1f} MB, built in {entry.seconds:.0f} s)")
        if pictures and network in networks:
            agreement = cost_of_engine(order, pictures, Backend("tensorrt", "int8", "as asked"))
            print(f"{order.model}: int8 against fp32: {'; '.join([str(agreement), *agreement.shortfalls('int8')])}")
    _compile_kernels(device, directory)


def _compile_kernels(device: CudaDevice, directory: Path) -> None:
    with device.active():
        load_kernels(device, directory)
    print("CUDA kernels: ready")


def _on_terminal(phase: str, done: int, steps: int) -> None:
    sys.stderr.write(f"\r\x1b[K{phase}: {done}/{steps}")
    if done == steps:
        sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()


def _prepare_cpu(networks: list[_Network], data: dict[str, Int8Data], options: Options, problem: str) -> None:
    directory = engines_of(options)
    for network in networks:
        order = network.order
        with OnnxRuntimeEngine(order.onnx) as engine:
            inputs = ", ".join(f"{name} {_shape(spec.shape)}" for name, spec in engine.inputs.items())
        print(f"{order.model}: ready for ONNX Runtime: {order.onnx} ({inputs})")
        if order.model in data:
            result = make_cpu_int8(order, data[order.model], directory)
            verdict = "offered with --precision int8" if result.offered else "not offered: fp32 stays"
            print(f"{order.model}: int8 is {result.speedup:.2f} times as fast as fp32; {result.accuracy}; {verdict}")
    print(f"No TensorRT engine was built: {problem}")


def _shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _verify(options: Options) -> int:
    agreements, missing = verify_machine(options)
    for line in (*agreements, *missing):
        print(line)
    return 1 if any(agreement.shortfalls for agreement in agreements) else 0


def _list(directory: Path) -> None:
    found = entries(directory)
    print(f"{directory}: {len(found)} engines")
    here = _here()
    for entry in found:
        print(_line(entry, here))


def _here() -> Machine | None:
    try:
        return this_machine(cuda_device())
    except EngineError:
        return None


def _line(entry: EngineEntry, here: Machine | None) -> str:
    key = entry.key
    if here is None:
        fit = "no GPU with TensorRT here"
    elif key.machine == here:
        fit = "fits this machine"
    else:
        fit = "of another machine"
    state = "" if entry.path.is_file() and entry.path.stat().st_size == entry.nbytes else ", DAMAGED"
    return (
        f"  {key.model} {key.precision}, batch {key.max_batch}, TensorRT {key.machine.tensorrt}, {key.machine.gpu} "
        f"(sm {key.machine.compute_capability}, {key.machine.platform}), {entry.nbytes / 1e6:.1f} MB: {fit}{state}"
    )
