"""What this room asks of a network that is ready to run, and how pictures become its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import cv2
import numpy as np

from ..types import Array

__all__ = ["Network", "Tensor", "fill_planes", "only_input"]


class Tensor(Protocol):
    """An input or output of a network; a dimension that may vary is None."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int | None, ...]: ...


class Network(Protocol):
    """The part of an engine that the stages use; any engine fits."""

    @property
    def inputs(self) -> Mapping[str, Tensor]: ...
    @property
    def outputs(self) -> Mapping[str, Tensor]: ...
    @property
    def max_batch(self) -> int: ...
    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]: ...


def only_input(network: Network) -> Tensor:
    """Return the one image input, [B, 3, H, W]."""
    (tensor,) = network.inputs.values()
    return tensor


def fill_planes(planes: Array, image: Array, colour: Literal["rgb", "bgr"], mean: Sequence[float], std: float) -> None:
    """Write one picture into a network's input.

    Parameters
    ----------
    planes: float32 [3, H, W], filled with (pixel - mean) / std in the network's channel order.
    image: uint8 [h, w, 3] BGR with h <= H and w <= W, placed at the top left; what is beyond it becomes the value of a black pixel,
        as if the picture had been padded with zeros.
    mean: in the network's own channel order.
    """
    height, width = image.shape[:2]
    order = (2, 1, 0) if colour == "rgb" else (0, 1, 2)
    factor = np.float32(1.0 / std)
    channels = cv2.split(image)
    for plane, source, channel_mean in zip(planes, order, mean, strict=True):
        part = plane[:height, :width]
        if channel_mean or std != 1.0:
            np.subtract(channels[source], np.float32(channel_mean), out=part, dtype=np.float32)
            part *= factor
        else:
            part[...] = channels[source]
        black = np.float32(-channel_mean) * factor
        plane[height:] = black
        plane[:height, width:] = black
