"""Which outputs of a detector are scores and which belong to the same cells, so that only likely cells need leave the
device.

What the values mean is the decoder's business; here they are only gathered and put back in place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError
from ..types import Array

__all__ = ["HeadGroup", "cells_of", "channels_of", "dense_outputs", "head_groups"]


@dataclass(frozen=True, slots=True)
class HeadGroup:
    """Outputs over the same cells."""

    scores: tuple[str, ...]
    """Outputs with one channel, 0 to 1; their product, or its root, is the score."""
    values: tuple[str, ...]
    """The other outputs."""
    channels_last: bool
    """[B, cells, C] instead of [B, C, rows, columns]."""

    @property
    def names(self) -> tuple[str, ...]:
        """All outputs, scores first."""
        return self.scores + self.values

    def least_product(self, threshold: float) -> float:
        """Return a product of scores that no cell of at least ``threshold`` falls below.

        A detector with two scores takes the root of their product. A little less than exact, so that rounding loses no
        cell; the decoder decides for good.
        """
        return float(threshold ** len(self.scores) * (1 - 1e-5))


def head_groups(decoder: str, outputs: list[str]) -> list[HeadGroup]:
    """Return the groups of a detector's outputs.

    Parameters
    ----------
    decoder: "centerface", "yunet" or "scrfd".
    outputs: the outputs' names in the network's order.
    """
    if decoder == "centerface":
        return [HeadGroup((outputs[0],), tuple(outputs[1:]), channels_last=False)]
    if decoder == "yunet":
        return [HeadGroup((f"cls_{s}", f"obj_{s}"), (f"bbox_{s}", f"kps_{s}"), channels_last=True) for s in (8, 16, 32)]
    if decoder == "scrfd":
        return [HeadGroup((outputs[i],), (outputs[3 + i], outputs[6 + i]), channels_last=True) for i in range(3)]
    raise EngineError("there is no such detector head", asked=decoder, found="centerface, yunet, scrfd")


def cells_of(group: HeadGroup, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return how many cells a group has in each picture, given the shapes of the outputs."""
    shape = shapes[group.names[0]]
    return shape[1] if group.channels_last else math.prod(shape[2:])


def channels_of(group: HeadGroup, shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Return the channels of each output of a group, given the outputs' shapes."""
    return [shapes[name][2 if group.channels_last else 1] for name in group.names]


def dense_outputs(
    shapes: Mapping[str, tuple[int, ...]], gathered: Mapping[HeadGroup, tuple[Array, Array]]
) -> dict[str, Array]:
    """Return a detector's outputs for one picture, zero but for the cells that were gathered.

    Parameters
    ----------
    shapes: of the outputs for a batch, in the network's order.
    gathered: per group the numbers of the cells, int [K], and their values, float32 [K, channels].

    Each output has a leading dimension of 1. Untouched memory of a large array of zeros costs nothing.
    """
    dense = {name: np.zeros((1, *shape[1:]), np.float32) for name, shape in shapes.items()}
    for group, (cells, rows) in gathered.items():
        start = 0
        for name in group.names:
            target = dense[name][0]
            by_cell = target if group.channels_last else target.reshape(target.shape[0], -1).T
            by_cell[cells] = rows[:, start : start + by_cell.shape[1]]
            start += by_cell.shape[1]
    return dense
