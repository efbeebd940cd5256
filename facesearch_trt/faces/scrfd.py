"""Reads SCRFD: distances from anchor points, two anchors per cell, at strides 8, 16 and 32.

Source: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", and InsightFace's ``SCRFD`` class.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ModelError
from ..types import Array
from .candidates import Candidates
from .network import Tensor

__all__ = ["ScrfdDecoder"]

_STRIDES = (8, 16, 32)
_ANCHORS = 2
_VALUES = (1, 4, 10)


class ScrfdDecoder:
    """Decoder of scores [n, 1], box distances [n, 4] and landmark distances [n, 10], each for strides 8, 16 and 32, in strides.

    A leading batch dimension may be there or not. The nine outputs are in InsightFace's order: scores, boxes, landmarks, each from
    the finest stride to the coarsest.
    """

    box_edge_px = 1.0

    def check(self, outputs: Mapping[str, Tensor]) -> None:
        """Raise ModelError where the outputs are not the nine of SCRFD with landmarks."""
        shapes = [tensor.shape for tensor in outputs.values()]
        if len(shapes) == 6:
            raise ModelError(
                "this SCRFD has no landmarks, which alignment needs",
                found="6 outputs",
                remedy="Use a detector whose name ends in _kps, or det_10g, det_500m or scrfd_10g_bnkps.",
            )
        wanted = [values for values in _VALUES for _ in _STRIDES]
        if len(shapes) != 9 or any(
            not shape or shape[-1] not in (None, values) for shape, values in zip(shapes, wanted, strict=True)
        ):
            raise ModelError("the network is no SCRFD", asked=f"9 outputs of {wanted} values", found=shapes)

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates of one picture; see :meth:`Decoder.decode`."""
        arrays = [output[index] if output.ndim == 3 else output for output in outputs.values()]
        levels = zip(_STRIDES, arrays[0:3], arrays[3:6], arrays[6:9], strict=True)
        return Candidates.concatenate([_level(net_size[0], threshold, *level) for level in levels])


def _level(net_width: int, threshold: float, stride: int, scores: Array, distances: Array, points: Array) -> Candidates:
    chosen = np.flatnonzero(scores[:, 0] >= threshold)
    rows, columns = np.divmod(chosen // _ANCHORS, net_width // stride)
    anchor = (np.stack([columns, rows], axis=1) * stride).astype(np.float32)
    reach = distances[chosen] * np.float32(stride)
    boxes = np.concatenate([anchor - reach[:, :2], anchor + reach[:, 2:]], axis=1)
    landmarks = anchor[:, None] + points[chosen].reshape(-1, 5, 2) * np.float32(stride)
    return Candidates(boxes, scores[chosen, 0], landmarks)
