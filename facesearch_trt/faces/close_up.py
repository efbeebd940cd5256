"""Joins what a detector saw of one frame in a normal look and in a second, much smaller one.

Detectors place boxes badly on faces that fill their input: CenterFace and YuNet, measured on a portrait enlarged in
steps, fit boxes with an IoU of .9 and more up to some 400 px of the network's input, then shrink them, down to an IoU
of .2 to .5 on a face of 1,000 px, often as several boxes on one face. At a long side of 128 to 320 px the same face is
placed well again.
"""

from __future__ import annotations

import numpy as np

from ..types import Array
from .candidates import Candidates

__all__ = ["join_looks"]

_LARGE_NET_PX = 320
"""From this longer side on, in px of the normal look's network input, the small look places a face better."""
_INSIDE = 0.5
"""Share of the smaller of two boxes that is common to both, above which they are taken for one face."""


def join_looks(normal: Candidates, small: Candidates, scale: float, iou: float) -> Candidates:
    """Return the candidates of both looks, without those that the other look places better.

    Parameters
    ----------
    normal, small: candidates of the two looks, frame px.
    scale: px of the normal look's network input per frame px.
    iou: of two boxes that overlap by more than this one is a duplicate.
    """
    # The small look is there for close-ups alone: what is small in it, the normal look finds and places better.
    small = small.select(_long_side(small.boxes) * scale >= _LARGE_NET_PX / 2)
    too_large = _long_side(normal.boxes) * scale >= _LARGE_NET_PX
    shared, area, small_area = _overlaps(normal.boxes, small.boxes)
    inside = (shared > _INSIDE * np.minimum(area, small_area)).any(axis=1)
    stays = ~(too_large & inside)
    duplicate = (shared > iou * (area + small_area - shared))[stays].any(axis=0)
    return Candidates.concatenate([normal.select(stays), small.select(~duplicate)])


def _long_side(boxes: Array) -> Array:
    sides: Array = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    return sides


def _overlaps(one: Array, other: Array) -> tuple[Array, Array, Array]:
    """Return the intersections [K, L] and the areas [K, 1] and [1, L]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return np.maximum(high - low, 0).prod(axis=2), areas[0][:, None], areas[1][None, :]
