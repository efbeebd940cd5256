"""Where a clip's picture lies in the mux's canvas and in the network's input.

Coordinates are those of the plane in which pixel i covers [i, i + 1), so that a resize by a factor is a plain
product. nvstreammux brings a picture of another size into its own, in the middle of a black canvas when padding is
on; nvinfer then scales the canvas by one factor to the top left of the network's input (``maintain-aspect-ratio=1``,
``symmetric-padding=0``), black to the right and below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ..types import Array

__all__ = ["Look", "Placement", "Region", "placement", "region_in_mux"]


class Region(NamedTuple):
    """A rectangle of the mux's canvas, px."""

    x: int
    y: int
    width: int
    height: int

    def picture(self, canvas: Array, size: tuple[int, int]) -> Array:
        """Return the picture, uint8 [H, W, 3], that the mux put here, brought back to its own ``size`` (width, height).

        It is the very picture where the mux did not have to scale it.
        """
        part = canvas[self.y : self.y + self.height, self.x : self.x + self.width]
        if (self.width, self.height) == size:
            return part if part.shape == canvas.shape else np.ascontiguousarray(part)
        shrinks = size[0] < self.width
        picture: Array = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return picture


def region_in_mux(size: tuple[int, int], mux: tuple[int, int]) -> Region:
    """Return where a mux with padding puts a picture of ``size`` (width, height) on a canvas of ``mux``.

    Sizes are cut to whole pixels, and the picture is centred.
    """
    if size == mux:
        return Region(0, 0, *mux)
    scale = min(mux[0] / size[0], mux[1] / size[1])
    width, height = (max(1, int(side * scale)) for side in size)
    return Region((mux[0] - width) // 2, (mux[1] - height) // 2, width, height)


@dataclass(frozen=True, slots=True)
class Placement:
    """How a clip's picture lies in a network's input: ``net = frame * scale + offset`` on each axis."""

    scale_x: float
    """Network px per frame px."""
    scale_y: float
    offset_x: float
    """Of the picture's left edge, network px."""
    offset_y: float
    net_width: int
    net_height: int

    @property
    def scale(self) -> float:
        """One factor for both axes; they differ only by the rounding of sizes to whole pixels."""
        return float(np.sqrt(self.scale_x * self.scale_y))

    def to_frame(self, coordinates: Array) -> Array:
        """Return boxes [..., 4] or points [..., 2] of network px in frame px."""
        count = coordinates.shape[-1] // 2
        offset = np.array([self.offset_x, self.offset_y] * count, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * count, np.float32)
        return (coordinates - offset) / scale


def placement(size: tuple[int, int], mux: tuple[int, int], net: tuple[int, int]) -> Placement:
    """Return how a picture of ``size`` (width, height) lies in a network's input ``net`` behind a mux."""
    region = region_in_mux(size, mux)
    factor = min(net[0] / mux[0], net[1] / mux[1])
    return Placement(
        scale_x=factor * region.width / size[0],
        scale_y=factor * region.height / size[1],
        offset_x=factor * region.x,
        offset_y=factor * region.y,
        net_width=net[0],
        net_height=net[1],
    )


class Look(NamedTuple):
    """What a network said of one frame, and how to read it. The fields' names are those that the face decoder asks
    for.
    """

    outputs: Mapping[str, Array]
    """The network's outputs by name, each [1, ...]."""
    row: int
    """Of the frame in them."""
    letterbox: Placement
