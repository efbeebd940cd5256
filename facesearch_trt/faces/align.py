"""Turns faces upright: a similarity transform from five landmarks to an embedder's own template."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from ..types import Array

__all__ = ["TEMPLATES", "Aligner", "similarity_transforms"]

TEMPLATES: dict[str, tuple[int, Array]] = {
    # InsightFace, face_align.arcface_dst.
    "arcface": (
        112,
        np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]),
    ),
    # (u + 0.25) / 1.5 * 150 of dlib's mean shape u: an eye is the mean of its six points; nose 30, mouth 48 and 54.
    "dlib": (
        150,
        np.array([[47.549, 46.599], [100.476, 46.599], [74.013, 76.562], [50.415, 103.023], [97.610, 103.023]]),
    ),
}
"""Side of the template's chip in px, and its points, float64 [5, 2], in the order of the landmarks."""

_WARP_LIMIT_PX = 32766
"""Longest side of a picture that cv2.warpAffine takes."""


class Aligner:
    """Cuts upright chips out of frames.

    Bilinear, and black where the frame ends, as InsightFace's norm_crop. Like that, this does not smooth a face that is
    larger than its chip: with faces of 160 to 1,400 px and noise of up to 10 grey levels, smoothing moved the
    embeddings of dlib's network by less than 0.01 of cosine.

    Parameters
    ----------
    template: name in :data:`TEMPLATES`.
    size: side of the chips in px; the template is scaled to it.
    """

    def __init__(self, template: Literal["arcface", "dlib"], size: int) -> None:
        side, points = TEMPLATES[template]
        self.size = size
        self.points = points * (size / side)
        """The landmarks' places in the chip, float64 [5, 2], px."""

    def transforms(self, landmarks: Array) -> Array:
        """Return float64 [N, 2, 3], from frame px to chip px, for landmarks [N, 5, 2] in frame px."""
        return similarity_transforms(landmarks, self.points)

    def chips(self, image: Array, landmarks: Array) -> Array:
        """Return uint8 [N, S, S, 3] BGR, the chips of a frame, uint8 [H, W, 3] BGR."""
        chips = np.empty((len(landmarks), self.size, self.size, 3), np.uint8)
        if len(landmarks):
            for chip, matrix in zip(chips, self.transforms(landmarks), strict=True):
                self._warp(image, matrix, chip)
        return chips

    def _warp(self, image: Array, matrix: Array, chip: Array) -> None:
        if max(image.shape) > _WARP_LIMIT_PX:
            image, matrix = _part(image, matrix, self.size)
        cv2.warpAffine(image, matrix, (self.size, self.size), dst=chip, flags=cv2.INTER_LINEAR, borderValue=0)


def similarity_transforms(source: Array, target: Array) -> Array:
    """Return the similarity transforms that fit best by least squares: rotation, scale and shift, no reflection.

    In two dimensions Umeyama's method has a closed form: with the centred points as complex numbers z and w, the factor
    that turns and scales is sum(conj(z) w) / sum(|z|^2).

    Parameters
    ----------
    source: float [N, K, 2].
    target: float [K, 2].

    Returns float64 [N, 2, 3]. Points that say nothing of scale and rotation, since all coincide or no factor is better
    than none, get a shift alone.
    """
    z = _complex(source)
    w = _complex(target)
    middle = z.mean(axis=1)
    z = z - middle[:, None]
    product = (z.conj() * (w - w.mean())).sum(axis=1)
    spread = (z.real**2 + z.imag**2).sum(axis=1)
    usable = np.abs(product) > 1e-6 * spread
    factor = np.where(usable, product / np.where(usable, spread, 1), 1)
    shift = w.mean() - factor * middle
    rows = [factor.real, -factor.imag, shift.real, factor.imag, factor.real, shift.imag]
    matrices: Array = np.stack(rows, axis=1).reshape(-1, 2, 3)
    return matrices


def _complex(points: Array) -> Array:
    numbers: Array = np.ascontiguousarray(points, np.float64).view(np.complex128)[..., 0]
    return numbers


def _part(image: Array, matrix: Array, size: int) -> tuple[Array, Array]:
    """Return the part of a very large picture that a chip shows, and the transform from there."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(seen.min(axis=0)).astype(int) - 2, 0, limit - 1)
    high = np.clip(np.ceil(seen.max(axis=0)).astype(int) + 2, low + 1, np.minimum(limit, low + _WARP_LIMIT_PX))
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ low
    return image[low[1] : high[1], low[0] : high[0]], shifted
