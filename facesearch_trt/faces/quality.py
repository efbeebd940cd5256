"""How much a face is worth for recognition: its size, sharpness and pose.

The constants were fitted to how far the embeddings of real faces move when they are blurred, smeared, shrunk, and
turned (47 faces of 50 to 230 px, two embedders); tests hold the order that they give.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..types import Array

__all__ = ["face_quality", "frontal_share"]

_EYES_PX = 20.0
"""Distance of the eyes at which sharpness is measured: that of a face of some 50 px, whatever the face's own."""
_MARGIN = 0.16
"""Share of the chip left out on every side: hair and background."""
_BLURRED, _SHARP = 0.32, 0.80
"""Measure of a face blurred by a standard deviation of 5 % of its size, and one that most sharp faces exceed."""
_GRAINY, _NOISE = 1.3, 2.6
"""Measures above what sharp faces show (1.15), and of a picture that is mostly noise (3.4 where it is nothing else)."""
_NOSE_OUT = 0.5
"""How far the nose's tip stands out from the plane of eyes and mouth, in distances of the eyes."""
_EYES_TO_MOUTH = 1.14
"""Height of the face between eyes and mouth, in distances of the eyes."""
_YAW_DEG, _PITCH_DEG = 50.0, 40.0
"""Angles at which ``frontal`` has fallen to 1/e."""
_HALF_WORTH_PX, _SLOPE_PX = 33.0, 4.5
"""Size at which a face is worth half, and how fast its worth rises around it."""


def face_quality(boxes: Array, landmarks: Array, chips: Array, eyes_px: float) -> Array:
    """Return float32 [N, 4] with the columns size_px, sharpness, frontal and quality, rounded to 0.0001.

    ``quality`` is above 0.5 for a sharp frontal face from 40 px on, and near 0 for one of 20 px, out of focus or in
    profile.

    Parameters
    ----------
    boxes: float [N, 4], frame px.
    landmarks: float [N, 5, 2], frame px.
    chips: uint8 [N, S, S, 3] BGR.
    eyes_px: distance of the eyes in an aligned chip.
    """
    if not len(boxes):
        return np.zeros((0, 4), np.float32)
    size_px: Array = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, dtype=np.float64))
    sharpness = _sharpness(chips, eyes_px)
    frontal = frontal_share(landmarks)
    quality = sharpness * frontal / (1 + np.exp((_HALF_WORTH_PX - size_px) / _SLOPE_PX))
    table: Array = np.stack([size_px, sharpness, frontal, quality], axis=1).round(4).astype(np.float32)
    return table


def _sharpness(chips: Array, eyes_px: float) -> Array:
    """Return [N], 0 to 1, from the mean second difference over the mean first one.

    Contrast cancels out, and mostly also what is shown: on an edge blurred by s px the ratio goes as 1/s. Across and
    down are measured apart, and the worse counts, since motion blurs in one direction only.
    """
    side = chips.shape[1]
    margin = round(side * _MARGIN)
    small = round((side - 2 * margin) * _EYES_PX / eyes_px)
    luma = np.empty((len(chips), small, small), np.float32)
    for one, chip in zip(luma, chips, strict=True):
        grey = cv2.cvtColor(chip[margin:-margin, margin:-margin], cv2.COLOR_BGR2GRAY)
        cv2.resize(grey.astype(np.float32), (small, small), dst=one, interpolation=cv2.INTER_AREA)
    measure = np.minimum(_detail(luma), _detail(luma.transpose(0, 2, 1)))
    rise = (measure - _BLURRED) / (_SHARP - _BLURRED)
    fall = (_NOISE - measure) / (_NOISE - _GRAINY)
    sharpness: Array = np.clip(np.minimum(rise, fall), 0, 1)
    return sharpness


def _detail(luma: Array) -> Array:
    """Return [N], along the last axis of [N, H, W]."""
    second = np.abs(np.diff(luma, 2)).mean(axis=(1, 2), dtype=np.float64)
    first = np.abs(luma[:, :, 2:] - luma[:, :, :-2]).mean(axis=(1, 2), dtype=np.float64) / 2
    # Steps of one grey level, which dark and blurred areas consist of, would pass for detail without the 0.1.
    detail: Array = second / (first + 0.1)
    return detail


def frontal_share(landmarks: Array) -> Array:
    """Return float64 [N], 0 to 1, from the yaw and pitch of landmarks [N, 5, 2]; roll does not matter.

    The nose stands out: turned by an angle a, it moves by its height times sin a against the face, whose width and
    height shrink by cos a.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks.astype(np.float64).transpose(1, 0, 2)
    top = (left_eye + right_eye) / 2
    down = (left_mouth + right_mouth) / 2 - top
    across = ((right_eye - left_eye) + (right_mouth - left_mouth)) / 2
    height = np.hypot(down[:, 0], down[:, 1])
    whole = height > 1e-3
    unit = down / np.where(whole, height, 1)[:, None]
    width = across[:, 0] * unit[:, 1] - across[:, 1] * unit[:, 0]
    from_top = nose - top
    aside = from_top[:, 0] * unit[:, 1] - from_top[:, 1] * unit[:, 0]
    share = (from_top * unit).sum(axis=1) / np.where(whole, height, 1)
    # A width of 0 or less is a profile, or no face.
    yaw = np.degrees(np.arctan2(np.abs(aside) + 1e-9, _NOSE_OUT * np.maximum(width, 0)))
    pitch = np.degrees(np.arctan((share - 0.5) * _EYES_TO_MOUTH / _NOSE_OUT))
    frontal: Array = np.where(whole, np.exp(-((yaw / _YAW_DEG) ** 2) - (pitch / _PITCH_DEG) ** 2), 0)
    return frontal
