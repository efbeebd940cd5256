"""What this room asks of a network that is ready to run, and how pictures become its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import cv2
import numpy as np

from ..errors import ModelError
from ..types import Array

__all__ = ["Network", "Tensor", "fill_planes", "picture_input"]


class Tensor(Protocol):
    """An input or output of a network."""

    @property
    def name(self) -> str:
        """Its name in the network."""
        ...

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its dimensions; one that may vary is None."""
        ...


class Network(Protocol):
    """The part of an engine that the stages use; any engine fits."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """By name."""
        ...

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """By name, in the network's own order."""
        ...

    @property
    def max_batch(self) -> int:
        """Most pictures in one call."""
        ...

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network; may be called from several threads at once."""
        ...


def picture_input(network: Network, name: str) -> Tensor:
    """Return a network's one input, [B, 3, H, W].

    Raises ModelError, naming the network ``name``, where it has other inputs or its batch is fixed to more than one
    picture.
    """
    shapes = [tensor.shape for tensor in network.inputs.values()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (None, 3):
        raise ModelError("the network takes no pictures", where=name, asked="one input [B, 3, H, W]", found=shapes)
    if shapes[0][0] not in (None, 1):
        raise ModelError(
            "the network's batch has a fixed size",
            where=name,
            found=shapes[0],
            remedy="Convert it with a batch of 1 or a varying batch.",
        )
    return next(iter(network.inputs.values()))


def fill_planes(planes: Array, image: Array, colour: Literal["rgb", "bgr"], mean: Sequence[float], std: float) -> None:
    """Write one picture into a network's input.

    Parameters
    ----------
    planes: float32 [3, H, W]; gets (pixel - mean) / std in the network's channel order.
    image: uint8 [h, w, 3] BGR, h <= H and w <= W. It lies at the top left; the rest becomes what black pixels would
        give.
    colour: the network's channel order.
    mean: in the network's channel order.
    """
    height, width = image.shape[:2]
    channels = cv2.split(image)
    factor = np.float32(1.0 / std)
    for plane, channel, middle in zip(planes, channels[::-1] if colour == "rgb" else channels, mean, strict=True):
        part = plane[:height, :width]
        if middle or std != 1.0:
            np.subtract(channel, np.float32(middle), out=part, dtype=np.float32)
            part *= factor
        else:
            part[...] = channel
        black = np.float32(-middle) * factor
        plane[height:] = black
        plane[:height, width:] = black
