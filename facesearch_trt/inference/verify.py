"""Whether a backend finds and describes the same faces as ONNX Runtime in float32, on the bundled picture or on any
others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..types import Array, FaceBatch

__all__ = ["LIMITS", "Agreement", "Subject", "compare", "selftest_picture", "verify_backends"]

LIMITS = {"fp32": (0.99, 0.9999), "fp16": (0.95, 0.999), "int8": (0.75, 0.98)}
"""Precision → least IoU of a box and least cosine of an embedding with those of the reference."""
_SAME_FACE = 0.4
"""IoU from which two boxes are the same face."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A backend with its networks, reduced to what is compared."""

    name: str
    """For people: "TensorRT 10.3 fp16" for example."""
    precision: str
    """Key of :data:`LIMITS`."""
    detect: Callable[[Array], FaceBatch]
    """Finds the faces of a picture, uint8 [H, W, 3] BGR."""
    embed: Callable[[Array], Array]
    """Gives float32 [N, D] for chips, uint8 [N, S, S, 3] BGR."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a backend is to the reference."""

    name: str
    precision: str
    reference_faces: int
    """Faces that the reference found."""
    faces: int
    """Of those, the ones that the backend found too."""
    extra_faces: int
    """Faces that only the backend found."""
    box_iou: float
    """Least over the faces found by both; 1 where there is none."""
    landmark_px: float
    """Largest distance of a landmark."""
    cosine: float
    """Least over the embeddings of the same chips."""
    mean_cosine: float

    @property
    def shortfalls(self) -> list[str]:
        """What is beyond the limits of the precision, as sentences; empty where the backend is as good as it should
        be."""
        iou, cosine = LIMITS[self.precision]
        found = []
        if self.faces < self.reference_faces or self.extra_faces:
            found.append(
                f"{self.faces} of {self.reference_faces} faces were found again, and {self.extra_faces} that the reference lacks"
            )
        if self.box_iou < iou:
            found.append(f"box IoU {self.box_iou:.3f} is below {iou}")
        # Written so that NaN fails too.
        if not self.cosine >= cosine:
            found.append(f"cosine {self.cosine:.4f} is below {cosine}")
        return found

    def __str__(self) -> str:
        verdict = "; ".join(self.shortfalls) or "as good as it should be"
        return (
            f"{self.name}: {self.faces}/{self.reference_faces} faces, box IoU {self.box_iou:.3f}, landmarks within "
            f"{self.landmark_px:.2f} px, cosine {self.cosine:.5f} (mean {self.mean_cosine:.5f}): {verdict}"
        )


def selftest_picture() -> Array:
    """Return the bundled picture, uint8 [H, W, 3] BGR, with one face."""
    path = Path(__file__).with_name("selftest.png")
    picture: Array | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise EngineError("the picture of the self-test is missing", where=path, remedy="Install the program again.")
    return picture


def verify_backends(
    reference: Subject,
    others: Iterable[Subject],
    chips: Callable[[Array, Array], Array],
    pictures: Sequence[Array] | None = None,
) -> list[Agreement]:
    """Return how each backend compares with the reference.

    Parameters
    ----------
    reference: ONNX Runtime in float32.
    chips: cuts chips, uint8 [N, S, S, 3], out of a picture, given landmarks [N, 5, 2].
    pictures: uint8 [H, W, 3] BGR; the bundled one if not given.

    Raises EngineError where the reference finds no face in any picture, since nothing could be compared.
    """
    shown = [selftest_picture()] if pictures is None else pictures
    return [compare(reference, other, chips, shown) for other in others]


def compare(
    reference: Subject, other: Subject, chips: Callable[[Array, Array], Array], pictures: Iterable[Array]
) -> Agreement:
    """Return how a backend compares with the reference over pictures, which are taken one by one.

    The embedders see the same chips, cut at the reference's landmarks: each network is judged by itself.
    """
    wanted = seen = extra = 0
    ious, distances, cosines = [1.0], [0.0], []
    for picture in pictures:
        faces, found = reference.detect(picture), other.detect(picture)
        pairs = _pairs(faces.boxes, found.boxes)
        wanted, seen, extra = wanted + len(faces), seen + len(pairs), extra + len(found) - len(pairs)
        for a, b, iou in pairs:
            ious.append(iou)
            distances.append(float(np.linalg.norm(faces.landmarks[a] - found.landmarks[b], axis=1).max()))
        if len(faces):
            cut = chips(picture, faces.landmarks)
            cosines += _cosines(reference.embed(cut), other.embed(cut)).tolist()
    if not cosines:
        raise EngineError("the reference found no face, so there is nothing to compare", where=reference.name)
    return Agreement(
        other.name,
        other.precision,
        wanted,
        seen,
        extra,
        min(ious),
        max(distances),
        float(np.min(cosines)),
        float(np.mean(cosines)),
    )


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
