"""Turns faces upright: five landmarks to an embedder's own template by a similarity transform."""

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
    # (u + 0.25) / 1.5 * 150 of dlib's mean shape u: eyes as the mean of their six points, nose 30, mouth corners 48 and 54.
    "dlib": (
        150,
        np.array([[47.549, 46.599], [100.476, 46.599], [74.013, 76.562], [50.415, 103.023], [97.610, 103.023]]),
    ),
}
"""Side of the template's chip in px, and its points, float64 [5, 2], in the order of the landmarks."""


class Aligner:
    """Cuts upright chips out of frames.

    Parameters
    ----------
    template: name in :data:`TEMPLATES`.
    size: side of the chips in px; the template is scaled to it.
    """

    def __init__(self, template: Literal["arcface", "dlib"], size: int) -> None:
        side, points = TEMPLATES[template]
        self.template = template
        self.size = size
        self._points = points * (size / side)

    def transforms(self, landmarks: Array) -> Array:
        """Return float64 [N, 2, 3], from frame px to chip px, for landmarks [N, 5, 2]."""
        return similarity_transforms(landmarks, self._points)

    def chips(self, image: Array, landmarks: Array) -> Array:
        """Return uint8 [N, S, S, 3] BGR chips of a frame, uint8 [H, W, 3] BGR; black where the frame ends."""
        chips = np.empty((len(landmarks), self.size, self.size, 3), np.uint8)
        for chip, matrix in zip(chips, self.transforms(landmarks), strict=True):
            cv2.warpAffine(image, matrix, (self.size, self.size), dst=chip, flags=cv2.INTER_LINEAR, borderValue=0)
        return chips


def similarity_transforms(source: Array, target: Array) -> Array:
    """Return the similarity transforms (rotation, one scale, shift; no reflection) that fit best in the sense of least squares.

    The closed form of Umeyama's method in two dimensions: with centred points as complex numbers z and w the factor is
    sum(conj(z) w) / sum(|z|^2).

    Parameters
    ----------
    source: float [N, K, 2].
    target: float [K, 2].

    Returns float64 [N, 2, 3]. Points that all coincide say nothing of scale and rotation: theirs is a shift alone.
    """
    points = source.astype(np.float64)
    middle, target_middle = points.mean(axis=1), target.mean(axis=0)
    z = (points - middle[:, None]) @ np.array([1, 1j])
    w = (target - target_middle) @ np.array([1, 1j])
    spread = (np.abs(z) ** 2).sum(axis=1)
    product = z.conj() @ w
    usable = (spread > 0) & (np.abs(product) > 1e-6 * spread)
    factor = np.where(usable, product / np.where(usable, spread, 1), 1)
    linear = np.stack(
        [np.stack([factor.real, -factor.imag], axis=1), np.stack([factor.imag, factor.real], axis=1)], axis=1
    )
    shift = target_middle - np.einsum("nij,nj->ni", linear, middle)
    return np.concatenate([linear, shift[:, :, None]], axis=2)
