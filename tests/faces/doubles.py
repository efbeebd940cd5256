"""Engines without a runtime, for tests that look at what goes into a network or decide what comes out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facesearch_trt.inference.engine import TensorSpec
from facesearch_trt.types import Array, DetectorSpec, EmbedderSpec


def tensor(name: str, *shape: int | None) -> TensorSpec:
    return TensorSpec(name, shape, "float32")


@dataclass
class Double:
    """An engine whose answer is a function of its input; keeps what it was fed."""

    answer: Callable[[Array], dict[str, Array]]
    outputs: Mapping[str, TensorSpec]
    input_shape: tuple[int | None, ...] = (None, 3, None, None)
    max_batch: int = 1 << 30
    fed: list[Array] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return {"input": tensor("input", *self.input_shape)}

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        (array,) = feeds.values()
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        with self.lock:
            self.fed.append(array.copy())
        return self.answer(array)


def detector_spec(decoder: str = "yunet", **changes: object) -> DetectorSpec:
    values = {
        "name": "double",
        "onnx": Path("double.onnx"),
        "decoder": decoder,
        "colour": "bgr",
        "mean": (0.0, 0.0, 0.0),
        "std": 1.0,
        "multiple": 32,
        "score_threshold": 0.5,
    }
    return DetectorSpec(**(values | changes))  # type: ignore[arg-type]


def embedder_spec(**changes: object) -> EmbedderSpec:
    values = {
        "name": "double",
        "onnx": Path("double.onnx"),
        "template": "arcface",
        "chip_size": 8,
        "colour": "rgb",
        "mean": (0.0, 0.0, 0.0),
        "std": 1.0,
        "dimension": 4,
    }
    return EmbedderSpec(**(values | changes))  # type: ignore[arg-type]


YUNET_OUTPUTS = {
    f"{head}_{stride}": tensor(f"{head}_{stride}", None, None, values)
    for head, values in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}


def yunet_answer(faces: list[tuple[float, Array, Array]]) -> Callable[[Array], dict[str, Array]]:
    """Return an answer that encodes (score, box [4], landmarks [5, 2]), network px, in YuNet's heads at stride 8."""

    def answer(planes: Array) -> dict[str, Array]:
        count, _, height, width = planes.shape
        heads = {}
        for name, spec in YUNET_OUTPUTS.items():
            stride = int(name.split("_")[1])
            heads[name] = np.zeros((count, (height // stride) * (width // stride), spec.shape[2] or 0), np.float32)
        for score, box, landmarks in faces:
            centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            column, row = np.clip(centre // 8, 0, [width // 8 - 1, height // 8 - 1]).astype(int)
            cell = row * (width // 8) + column
            heads["cls_8"][:, cell], heads["obj_8"][:, cell] = score, score
            heads["bbox_8"][:, cell] = [*(centre / 8 - [column, row]), *np.log(size / 8)]
            heads["kps_8"][:, cell] = (landmarks / 8 - [column, row]).ravel()
        return heads

    return answer


UPRIGHT = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]], np.float32)
"""Landmarks of a frontal face as shares of its box."""


def face_at(x1: float, y1: float, x2: float, y2: float, score: float = 0.9) -> tuple[float, Array, Array]:
    box = np.array([x1, y1, x2, y2], np.float32)
    return score, box, box[:2] + UPRIGHT * (box[2:] - box[:2])
