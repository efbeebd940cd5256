"""Whether a backend finds and describes the same faces as ONNX Runtime in float32, on the bundled picture or on any
others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..types import Array, FaceBatch

__all__ = [
    "LIMITS",
    "Agreement",
    "BoxAgreement",
    "CosineAgreement",
    "Subject",
    "compare_detectors",
    "compare_embedders",
    "selftest_picture",
    "verify_backends",
]

LIMITS = {"fp32": (0.99, 0.9999), "fp16": (0.95, 0.999), "int8": (0.75, 0.98)}
"""Precision → least IoU of a box and least cosine of an embedding with those of the reference."""
_SAME_FACE = 0.4
"""IoU from which two boxes are the same face."""

Detect = Callable[[Array], FaceBatch]
"""Finds the faces of a picture, uint8 [H, W, 3] BGR."""
Embed = Callable[[Array], Array]
"""Gives float32 [N, D] for chips, uint8 [N, S, S, 3] BGR."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A backend with its networks, reduced to what is compared."""

    name: str
    """For people: "TensorRT 10.3 fp16" for example."""
    precision: str
    """Key of :data:`LIMITS`."""
    detect: Detect
    embed: Embed


@dataclass(frozen=True, slots=True)
class BoxAgreement:
    """How near a detector is to the reference."""

    reference_faces: int
    """Faces that the reference found."""
    faces: int
    """Of those, the ones that were found too."""
    extra_faces: int
    """Faces that the reference lacks."""
    iou: float
    """Least over the faces found by both; 1 where there is none."""
    landmark_px: float
    """Largest distance of a landmark."""

    def shortfalls(self, precision: str) -> list[str]:
        """Return what is beyond the limits of a precision, as sentences."""
        found = []
        if self.faces < self.reference_faces or self.extra_faces:
            found.append(
                f"{self.faces} of {self.reference_faces} faces were found again, and {self.extra_faces} others"
            )
        if self.iou < LIMITS[precision][0]:
            found.append(f"box IoU {self.iou:.3f} is below {LIMITS[precision][0]}")
        return found

    def __str__(self) -> str:
        return f"{self.faces}/{self.reference_faces} faces, box IoU {self.iou:.3f}, landmarks within {self.landmark_px:.2f} px"


@dataclass(frozen=True, slots=True)
class CosineAgreement:
    """How near an embedder is to the reference on the same chips."""

    faces: int
    least: float
    mean: float

    def shortfalls(self, precision: str) -> list[str]:
        """Return what is beyond the limits of a precision, as sentences."""
        limit = LIMITS[precision][1]
        # Written so that NaN fails too.
        return [] if self.least >= limit else [f"cosine {self.least:.4f} is below {limit}"]

    def __str__(self) -> str:
        return f"cosine {self.least:.5f} (mean {self.mean:.5f}) over {self.faces} faces"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a backend is to the reference."""

    name: str
    precision: str
    boxes: BoxAgreement
    cosines: CosineAgreement

    @property
    def shortfalls(self) -> list[str]:
        """What is beyond the limits of the precision, as sentences; empty where the backend is as good as it should
        be."""
        return self.boxes.shortfalls(self.precision) + self.cosines.shortfalls(self.precision)

    def __str__(self) -> str:
        verdict = "; ".join(self.shortfalls) or "as good as it should be"
        return f"{self.name}: {self.boxes}, {self.cosines}: {verdict}"


def selftest_picture() -> Array:
    """Return the bundled picture, uint8 [H, W, 3] BGR, with one face."""
    path = Path(__file__).with_name("selftest.png")
    picture: Array | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise EngineError("the picture of the self-test is missing", where=path, remedy="Install the program again.")
    return picture


def verify_backends(
    reference: Subject, others: Iterable[Subject], chips: Callable[[Array, Array], Array], picture: Array | None = None
) -> list[Agreement]:
    """Return how each backend compares with the reference on a picture.

    The embedders see the same chips, cut at the reference's landmarks: each network is judged by itself.

    Parameters
    ----------
    reference: ONNX Runtime in float32.
    chips: cuts chips, uint8 [N, S, S, 3], out of a picture, given landmarks [N, 5, 2].
    picture: uint8 [H, W, 3] BGR; the bundled one if not given.

    Raises EngineError where the reference finds no face, since nothing could be compared.
    """
    shown = selftest_picture() if picture is None else picture
    faces = reference.detect(shown)
    if not len(faces):
        raise EngineError("the reference found no face, so there is nothing to compare", where=reference.name)
    cut = chips(shown, faces.landmarks)
    return [
        Agreement(
            other.name,
            other.precision,
            compare_detectors(reference.detect, other.detect, [shown]),
            compare_embedders(reference.embed, other.embed, [cut]),
        )
        for other in others
    ]


def compare_detectors(reference: Detect, other: Detect, pictures: Iterable[Array]) -> BoxAgreement:
    """Return how a detector compares with the reference over pictures, uint8 [H, W, 3] BGR, which are taken one by
    one."""
    wanted = seen = extra = 0
    ious, distances = [1.0], [0.0]
    for picture in pictures:
        faces, found = reference(picture), other(picture)
        pairs = _pairs(faces.boxes, found.boxes)
        wanted, seen, extra = wanted + len(faces), seen + len(pairs), extra + len(found) - len(pairs)
        for a, b, iou in pairs:
            ious.append(iou)
            distances.append(float(np.linalg.norm(faces.landmarks[a] - found.landmarks[b], axis=1).max()))
    return BoxAgreement(wanted, seen, extra, min(ious), max(distances))


def compare_embedders(reference: Embed, other: Embed, chips: Iterable[Array]) -> CosineAgreement:
    """Return how an embedder compares with the reference over batches of chips, uint8 [N, S, S, 3] BGR.

    Raises EngineError where there is no chip.
    """
    parts = [_cosines(reference(batch), other(batch)) for batch in chips if len(batch)]
    if not parts:
        raise EngineError("there are no faces to compare embeddings of")
    cosines = np.concatenate(parts)
    return CosineAgreement(len(cosines), float(cosines.min()), float(cosines.mean()))


def _pairs(first: Array, second: Array) -> list[tuple[int, int, float]]:
    """Return the pairs of boxes that are one face, best first, each box in one pair at most."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    iou = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    pairs: list[tuple[int, int, float]] = []
    for place in np.argsort(-iou, axis=None):
        a, b = (int(index) for index in np.unravel_index(place, iou.shape))
        if iou[a, b] < _SAME_FACE:
            break
        if all(a != one and b != two for one, two, _ in pairs):
            pairs.append((a, b, float(iou[a, b])))
    return pairs


def _cosines(first: Array, second: Array) -> Array:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines: Array = (first * second).sum(axis=1) / norms
    return cosines
