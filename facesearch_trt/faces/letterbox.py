"""Fits frames of any size into a detector's input without changing their aspect ratio.

Coordinates are those of the plane in which pixel i covers [i, i + 1). There a resize by the factor s, whose pixel
centres map as ``x_net = (x + 0.5) * s - 0.5``, is the plain product ``x_net = x * s``, and its inverse ``x = x_net /
s``. Detectors are trained with labels scaled that way; InsightFace and nvinfer (``frame = (net - offset) / scale`` with
offset 0) do the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..types import Array

__all__ = ["Letterbox", "detector_input_size", "letterbox_for"]

_AUTO_SHARE = 2 / 3
_AUTO_LONG_SIDE_PX = (640, 1280)


def detector_input_size(width: int, height: int, long_side: int, multiple: int) -> tuple[int, int]:
    """Return the network input (width, height) in px for a frame.

    Parameters
    ----------
    width, height: of the frame, px.
    long_side: wanted longer side, px; rounded up to ``multiple``. 0: two thirds of the frame's own, within 640 to 1280.
    multiple: both sides of the input are multiples of it.
    """
    longer, shorter = max(width, height), min(width, height)
    if long_side == 0:
        least, most = _AUTO_LONG_SIDE_PX
        long_side = min(max(round(longer * _AUTO_SHARE), least), most)
    net_longer = _up(long_side, multiple)
    # In integers: a product that came out a hair above a multiple would cost a whole strip of padding.
    net_shorter = _up(-(-shorter * net_longer // longer), multiple)
    return (net_longer, net_shorter) if width >= height else (net_shorter, net_longer)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a frame lies in a network's input: scaled by one factor, at the top left, black to the right and below."""

    scale: float
    """Network px per frame px."""
    net_width: int
    """Px."""
    net_height: int
    """Px."""

    def resize(self, image: Array) -> Array:
        """Return a frame, uint8 [H, W, 3], at the network's scale and not yet padded.

        Bilinear without anti-aliasing, as InsightFace and nvinfer do it.
        """
        if self.scale == 1.0:
            return image
        height, width = (round(side * self.scale) for side in image.shape[:2])
        # Without a size the scale is exact and the same on both axes. A side that rounds to nothing needs one.
        size = None if width and height else (max(width, 1), max(height, 1))
        resized: Array = cv2.resize(image, size, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_LINEAR)
        return resized

    def apply(self, image: Array) -> Array:
        """Return the network's picture, uint8 [net_height, net_width, 3], of a frame, uint8 [H, W, 3]."""
        padded = np.zeros((self.net_height, self.net_width, 3), np.uint8)
        resized = self.resize(image)
        padded[: resized.shape[0], : resized.shape[1]] = resized
        return padded

    def to_frame(self, coordinates: Array) -> Array:
        """Return boxes or points in network px, an array of any shape, in frame px."""
        frame_px: Array = coordinates / np.float32(self.scale)
        return frame_px


def letterbox_for(width: int, height: int, net_width: int, net_height: int) -> Letterbox:
    """Return the letterbox that shows a whole frame as large as a network's input allows. All in px."""
    return Letterbox(min(net_width / width, net_height / height), net_width, net_height)
