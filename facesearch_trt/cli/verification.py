"""Every backend that this machine has, held against ONNX Runtime in float32: `facesearch doctor --verify` and `build
--verify`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from ..config import Options
from ..errors import EngineError
from ..faces.align import Aligner
from ..faces.detect import Detector
from ..faces.embed import Embedder
from ..inference.choose import Backend, NetworkOrder, choose_backend, open_network
from ..inference.precision import PRECISIONS
from ..inference.tensorrt import tensorrt_problem
from ..inference.verify import Agreement, Subject, verify_backends
from ..models.prepare import prepare_detector, prepare_embedder
from ..types import DetectorSpec, EmbedderSpec
from ..wiring import Tools, detector_order, embedder_order, engines_of

__all__ = ["open_detector", "open_embedder", "verify_machine"]

_REFERENCE = Backend("onnxruntime", "fp32", "the reference")


def open_detector(
    stack: ExitStack, order: NetworkOrder, spec: DetectorSpec, backend: Backend, options: Options
) -> Detector:
    """Return a detector on a backend, closed with ``stack``."""
    return Detector(
        stack.enter_context(open_network(order, backend, engines_of(options))),
        spec,
        long_side=options.detector_size,
        close_up_size=options.close_up_size,
        score_threshold=options.score_threshold,
        nms_iou=options.nms_iou,
        min_face_px=options.min_face_px,
    )


def open_embedder(
    stack: ExitStack, order: NetworkOrder, spec: EmbedderSpec, backend: Backend, options: Options
) -> Embedder:
    """Return an embedder on a backend, closed with ``stack``."""
    engine = stack.enter_context(open_network(order, backend, engines_of(options)))
    return Embedder(engine, spec, batch=options.embed_batch)


def verify_machine(options: Options) -> tuple[list[Agreement], list[str]]:
    """Run the bundled picture through every backend and precision that is ready for the networks of ``options``.

    Returns how each compares with ONNX Runtime in float32, and per backend or precision that is not ready the reason.
    """
    missing: list[str] = []
    with ExitStack() as stack:
        tools = stack.enter_context(Tools(options))
        detector, embedder = prepare_detector(tools.detector_entry), prepare_embedder(tools.embedder_entry)
        orders = detector_order(tools.detector_entry, options), embedder_order(tools.embedder_entry, options)
        aligner = Aligner(embedder.template, embedder.chip_size)

        def subject(name: str, backend: Backend) -> Subject:
            found = open_detector(stack, orders[0], detector, backend, options)
            known = open_embedder(stack, orders[1], embedder, backend, options)
            return Subject(name, backend.precision, lambda picture: found.detect([picture])[0], known.embed)

        def others() -> Iterator[Subject]:
            for backend in _ready(options, orders, missing):
                try:
                    yield subject(f"{_NAMES[backend.name]} {backend.precision}", backend)
                except EngineError as error:
                    missing.append(f"{_NAMES[backend.name]} {backend.precision}: {error}")

        return verify_backends(subject("ONNX Runtime fp32", _REFERENCE), others(), aligner.chips), missing


_NAMES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}


def _ready(options: Options, orders: tuple[NetworkOrder, ...], missing: list[str]) -> Iterator[Backend]:
    yield replace(_REFERENCE, precision="int8")
    problem = tensorrt_problem()
    if problem is not None:
        missing.append(f"TensorRT: {problem}")
        return
    for precision in PRECISIONS:
        try:
            yield choose_backend("tensorrt", precision, engines_of(options), lambda: orders)
        except EngineError as error:
            missing.append(f"TensorRT {precision}: {error}")
