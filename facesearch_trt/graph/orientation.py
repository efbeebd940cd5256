"""Turns pictures upright as their container says."""

from __future__ import annotations

from collections.abc import Callable

import cv2

from ..types import Array

__all__ = ["UPRIGHT", "upright"]

UPRIGHT = "rotate-0"
"""GStreamer's image-orientation tag of pictures that are upright as they are."""

_TURNS: dict[str, Callable[[Array], Array]] = {
    "rotate-90": lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    "rotate-180": lambda image: cv2.rotate(image, cv2.ROTATE_180),
    "rotate-270": lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
    "flip-rotate-0": lambda image: cv2.flip(image, 1),
    "flip-rotate-90": lambda image: cv2.flip(cv2.transpose(image), -1),
    "flip-rotate-180": lambda image: cv2.flip(image, 0),
    "flip-rotate-270": cv2.transpose,
}


def upright(image: Array, orientation: str) -> Array:
    """Return a picture turned as an image-orientation tag asks; the same picture where it asks for nothing.

    GStreamer's ``videoflip`` does the same but copies every picture, even one that is upright: a tenth of all the time
    of decoding.
    """
    turn = _TURNS.get(orientation)
    return image if turn is None else turn(image)
