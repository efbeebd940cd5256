"""Reads SCRFD: distances from anchor points, two anchors per cell, at strides 8, 16 and 32.

Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", and InsightFace's own class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ModelError
from ..types import Array
from .candidates import Candidates
from .network import Tensor

__all__ = ["ScrfdDecoder"]

_STRIDES = (8, 16, 32)
_ANCHORS = 2
_VALUES = [1, 1, 1, 4, 4, 4, 10, 10, 10]


class ScrfdDecoder:
    """Decoder of InsightFace's nine outputs: scores, distances of boxes and of landmarks, each for strides 8, 16, 32.

    They are [B, n, v] or, from networks for one picture at a time, [n, v], with v 1, 4 and 10; distances in strides.

    Raises ModelError where a network's outputs are others, such as those of an SCRFD without landmarks.
    """

    edge_px = 1.0

    def __init__(self, outputs: Mapping[str, Tensor]) -> None:
        shapes = [tensor.shape for tensor in outputs.values()]
        if len(shapes) == 6:
            raise ModelError(
                "this SCRFD has no landmarks, and faces cannot be aligned without them",
                asked="9 outputs",
                found="6",
                remedy="Use one with landmarks, such as det_10g, det_500m or a file whose name ends in _bnkps or _kps.",
            )
        if [shape[-1] if shape else None for shape in shapes] != _VALUES:
            raise ModelError("the network is no SCRFD", asked=f"outputs of {_VALUES} values", found=shapes)
        self._names = tuple(outputs)
        self.batched = all(len(shape) == 3 for shape in shapes)

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates of one picture; see :meth:`Decoder.decode`."""
        heads = [outputs[name][index] if self.batched else outputs[name] for name in self._names]
        levels = [_level(stride, heads[i::3], net_size[0], threshold) for i, stride in enumerate(_STRIDES)]
        return Candidates.concatenate(levels)


def _level(stride: int, heads: Sequence[Array], net_width: int, threshold: float) -> Candidates:
    scores, distances, points = heads
    chosen = np.flatnonzero(scores >= threshold)
    rows, columns = np.divmod(chosen // _ANCHORS, net_width // stride)
    anchor = np.array([columns, rows], np.float32).T * np.float32(stride)
    reach = distances[chosen] * np.float32(stride)
    boxes = np.concatenate([anchor - reach[:, :2], anchor + reach[:, 2:]], axis=1)
    landmarks = anchor[:, None] + points[chosen].reshape(-1, 5, 2) * np.float32(stride)
    return Candidates(boxes, scores.ravel()[chosen], landmarks)
