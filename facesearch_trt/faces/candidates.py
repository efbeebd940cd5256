"""What a detector's head yields before duplicates are removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ..types import Array
from .network import Tensor

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
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Decoder(Protocol):
    """Reads the outputs of one kind of detector."""

    @property
    def box_edge_px(self) -> float:
        """Added to a box's sides when overlaps are measured: 1 where boxes were trained as inclusive pixel ranges, else 0."""
        ...

    def check(self, outputs: Mapping[str, Tensor]) -> None:
        """Raise ModelError where a network's outputs are not the ones that this decoder reads."""
        ...

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates, in network px, of one picture.

        Parameters
        ----------
        outputs: the network's outputs in the network's own order, for a batch.
        index: of the picture in the batch.
        net_size: width and height of the network's input, px.
        threshold: least score.
        """
        ...


def keep_best(boxes: Array, scores: Array, iou: float, *, edge_px: float = 0.0) -> Array:
    """Greedy non-maximum suppression: return the indices of the boxes that stay, best score first.

    A box goes when its intersection over union with a better box that stays exceeds ``iou``. Of equal scores the first is better.

    Parameters
    ----------
    boxes: float [K, 4], x1 y1 x2 y2.
    scores: float [K].
    edge_px: added to width and height of boxes and intersections (InsightFace counts pixels inclusively: 1).
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    x2, y2 = x2 + edge_px, y2 + edge_px
    areas = (x2 - x1) * (y2 - y1)
    left = np.arange(len(order))
    kept = []
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(best)
        if not rest.size:
            break
        wide = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        high = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        left = rest[shared <= iou * (areas[best] + areas[rest] - shared)]
    return order[np.array(kept, dtype=np.intp)]
