"""Fits frames of any size into a detector's input without changing their aspect ratio.

Coordinates are those of the plane in which pixel i covers [i, i + 1). There a resize by the factor s, whose pixel centres map as
``x_net = (x + 0.5) * s - 0.5``, is the plain product ``x_net = x * s``, and its inverse ``x = x_net / s``. Detectors are trained with
labels scaled that way; InsightFace and nvinfer (``frame = (net - offset) / scale``, offset 0) do the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..types import Array

__all__ = ["Letterbox", "detector_input_size", "fitting_letterbox"]

_AUTO_SHARE = 2 / 3
_AUTO_LONG_SIDE = (640, 1280)


def detector_input_size(width: int, height: int, long_side: int, multiple: int) -> tuple[int, int]:
    """Return the network input (width, height) in px for a frame.

    Parameters
    ----------
    width, height: of the frame, px.
    long_side: wanted longer side, px; rounded up to ``multiple``. 0: two thirds of the frame's own, within 640 to 1280.
    multiple: both sides of the input are multiples of it.
    """
    longer = max(width, height)
    if long_side == 0:
        least, most = _AUTO_LONG_SIDE
        long_side = min(max(round(longer * _AUTO_SHARE), least), most)
    long_side = _up(long_side, multiple)
    # Integers: a product that comes out a hair above a multiple would cost a whole strip of padding.
    shorter = _up(max(1, -(-min(width, height) * long_side // longer)), multiple)
    return (long_side, shorter) if width >= height else (shorter, long_side)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a frame lies in a network's input: scaled by one factor, at the top left, black to the right and below."""

    scale: float
    """Network px per frame px."""
    net_width: int
    net_height: int

    def resize(self, image: Array) -> Array:
        """Return the frame, uint8 [H, W, 3], at the network's scale and without padding.

        Bilinear without anti-aliasing, as InsightFace and nvinfer do it.
        """
        height, width = image.shape[:2]
        if self.scale == 1.0:
            return image
        # With the factors given (and not the size) the scale is exact and the same on both axes.
        resized = cv2.resize(
            image, self._size(width, height), fx=self.scale, fy=self.scale, interpolation=cv2.INTER_LINEAR
        )
        return resized[: self.net_height, : self.net_width]

    def apply(self, image: Array) -> Array:
        """Return the network's picture, uint8 [net_height, net_width, 3], of a frame, uint8 [H, W, 3]."""
        padded = np.zeros((self.net_height, self.net_width, 3), np.uint8)
        resized = self.resize(image)
        padded[: resized.shape[0], : resized.shape[1]] = resized
        return padded

    def to_frame(self, points: Array) -> Array:
        """Return boxes [..., 4] or points [..., 2] of network px in frame px."""
        return points / np.float32(self.scale)

    def _size(self, width: int, height: int) -> tuple[int, int] | None:
        # OpenCV refuses a size that rounds to nothing.
        if round(width * self.scale) and round(height * self.scale):
            return None
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))


def fitting_letterbox(width: int, height: int, net_width: int, net_height: int) -> Letterbox:
    """Return the letterbox that shows a whole frame as large as a network's input allows."""
    return Letterbox(min(net_width / width, net_height / height), net_width, net_height)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
