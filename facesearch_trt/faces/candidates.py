"""What a detector's head yields before duplicates are removed, and their removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..types import Array

__all__ = ["Candidates", "Decoder", "keep_best"]


class Candidates(NamedTuple):
    """Possible faces as parallel arrays; row i of each belongs to candidate i."""

    boxes: Array
    """float32 [K, 4], x1 y1 x2 y2, not clipped."""
    scores: Array
    """float32 [K], 0 to 1."""
    landmarks: Array
    """float32 [K, 5, 2]: left eye, right eye, nose, left and right mouth corner as seen in the picture."""

    def select(self, keep: Array) -> Candidates:
        """Return the candidates chosen by a boolean mask or an index array, in its order."""
        return Candidates(self.boxes[keep], self.scores[keep], self.landmarks[keep])

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """Return all candidates of one or more parts, in order."""
        some = [part for part in parts if len(part.scores)] or parts[:1]
        return some[0] if len(some) == 1 else cls(*(np.concatenate(columns) for columns in zip(*some, strict=True)))

    @classmethod
    def none(cls) -> Candidates:
        """Return no candidates."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


class Decoder(Protocol):
    """Reads the outputs of one kind of detector."""

    @property
    def edge_px(self) -> float:
        """Added to the sides of boxes when overlaps are measured; 1 where boxes are inclusive ranges of pixels."""
        ...

    @property
    def batched(self) -> bool:
        """Whether the outputs hold several pictures."""
        ...

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates, in network px, of one picture.

        Parameters
        ----------
        outputs: the network's outputs for a batch, by name.
        index: of the picture in the batch.
        net_size: width and height of the network's input, px.
        threshold: least score.
        """
        ...


def keep_best(boxes: Array, scores: Array, iou: float, *, edge_px: float = 0.0) -> Array:
    """Greedy non-maximum suppression: return the indices of the boxes that stay, best score first.

    A box goes when its intersection over union with a better box that stays exceeds ``iou``. Of equal scores the first
    is the better.

    Parameters
    ----------
    boxes: float [K, 4], x1 y1 x2 y2.
    scores: float [K].
    edge_px: see :attr:`Decoder.edge_px`.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    x2, y2 = x2 + np.float32(edge_px), y2 + np.float32(edge_px)
    areas = (x2 - x1) * (y2 - y1)
    left = np.arange(len(order))
    kept = []
    while left.size > 1:
        best, rest = left[0], left[1:]
        kept.append(best)
        wide = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        high = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        left = rest[shared <= iou * (areas[best] + areas[rest] - shared)]
    return order[np.array([*kept, *left], dtype=np.intp)]
