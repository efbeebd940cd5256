"""Pixels that are not square, as of DVDs, DV and HDV: how wide they are, and pictures with square ones in their place."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2

from ..errors import DecodeError
from ..types import Array

__all__ = ["SQUARE", "check_square", "evened", "pixel_aspect"]

SQUARE = Fraction(1)
_NEARLY = Fraction(2, 100)
"""Scaling to whole pixels leaves aspects of 404:405 and the like, for which no picture is to be made anew."""
_MOST = 4
"""The widest in use is 80:33, of 16:9 in 352 × 480. What says more is broken."""


def pixel_aspect(caps: Any) -> Fraction:
    """Return a picture's pixels' width by their height; SQUARE where caps do not say, or nothing that is to be heeded."""
    found, across, down = caps.get_structure(0).get_fraction("pixel-aspect-ratio")
    if not found or across < 1 or down < 1:
        return SQUARE
    aspect = Fraction(across, down)
    return aspect if abs(aspect - 1) > _NEARLY and Fraction(1, _MOST) <= aspect <= _MOST else SQUARE


def evened(image: Array, aspect: Fraction) -> Array:
    """Return a picture, [H, W, 3], with square pixels: wider or higher than it was; the same one where they are."""
    if aspect == SQUARE:
        return image
    height, width = image.shape[:2]
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    square: Array = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return square


def check_square(caps: Any, where: object) -> None:
    """Raise DecodeError, naming ``where``, for pictures that a graph on the GPU would leave distorted."""
    aspect = pixel_aspect(caps)
    if aspect != SQUARE:
        raise DecodeError(
            "its pixels are not square, which only the software graph evens out",
            where=where,
            found=f"{aspect.numerator}:{aspect.denominator}",
            remedy="Use --graph software for it.",
        )
