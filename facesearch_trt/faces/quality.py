"""How much a face is worth for recognition: its size, sharpness and pose."""

from __future__ import annotations

import cv2
import numpy as np

from ..types import Array

__all__ = ["face_quality"]


def face_quality(boxes: Array, landmarks: Array, chips: Array, magnification: Array) -> Array:
    """Return float32 [N, 4]: size_px, sharpness, frontal, quality, rounded to 0.0001.

    Parameters
    ----------
    boxes: float [N, 4], frame px.
    landmarks: float [N, 5, 2], frame px.
    chips: uint8 [N, S, S, 3] BGR.
    magnification: float [N], chip px per frame px.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).astype(np.float64)
    size_px = np.sqrt(sides.prod(axis=1))
    sharpness = np.array([_sharpness(*one) for one in zip(chips, magnification, strict=True)], np.float64)
    frontal = _frontal(landmarks.astype(np.float64))
    size_worth = 1 / (1 + np.exp(-(size_px - 32) / 5))
    quality = size_worth * sharpness * frontal
    return np.stack([size_px, sharpness, frontal, quality], axis=1).round(4).astype(np.float32)


def _sharpness(chip: Array, magnification: float) -> float:
    side = chip.shape[0]
    luma = cv2.cvtColor(chip[side // 8 : -side // 8, side // 8 : -side // 8], cv2.COLOR_BGR2GRAY).astype(np.float32)
    if magnification > 1:
        own = max(8, round(luma.shape[0] / magnification))
        luma = cv2.resize(luma, (own, own), interpolation=cv2.INTER_AREA)
    contrast = luma.var() + 25.0
    energy = cv2.Laplacian(luma, cv2.CV_32F).var() / contrast
    return float(energy / (energy + 0.1))


def _frontal(landmarks: Array) -> Array:
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks.transpose(1, 0, 2)
    across = right_eye - left_eye + right_mouth - left_mouth
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = across / np.maximum(length, 1e-6)
    middle = (left_eye + right_eye + left_mouth + right_mouth) / 4
    yaw = np.abs(((nose - middle) * across).sum(axis=1)) / np.maximum(length[:, 0] / 4, 1e-6)
    return np.exp(-(yaw**2))
