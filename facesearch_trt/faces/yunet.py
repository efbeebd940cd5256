"""Reads YuNet: one prediction per cell, without anchors, at strides 8, 16 and 32.

Source: Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", and OpenCV's FaceDetectorYN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ModelError
from ..types import Array
from .candidates import Candidates
from .network import Tensor

__all__ = ["YuNetDecoder"]

_STRIDES = (8, 16, 32)
_HEADS = ("cls", "obj", "bbox", "kps")


class YuNetDecoder:
    """Decoder of ``cls_s`` and ``obj_s`` [B, n, 1], ``bbox_s`` [B, n, 4], ``kps_s`` [B, n, 10] for the three strides s.

    The n cells lie row by row.

    Raises ModelError where a network lacks one of these outputs.
    """

    edge_px = 0.0
    batched = True

    def __init__(self, outputs: Mapping[str, Tensor]) -> None:
        wanted = [f"{head}_{stride}" for head in _HEADS for stride in _STRIDES]
        if not set(wanted) <= outputs.keys():
            raise ModelError("the network is no YuNet", asked=f"outputs {wanted}", found=list(outputs))

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates of one picture; see :meth:`Decoder.decode`."""
        levels = [_level(outputs, index, net_size[0], stride, threshold) for stride in _STRIDES]
        return Candidates.concatenate(levels)


def _level(outputs: Mapping[str, Array], index: int, net_width: int, stride: int, threshold: float) -> Candidates:
    face, presence, box, points = (outputs[f"{head}_{stride}"][index] for head in _HEADS)
    # The many cells without a face are left out before anything else is computed; what is clipped only gets less.
    cells = np.flatnonzero(face * presence >= threshold**2 * 0.999)
    if not cells.size:
        return Candidates.none()
    scores = np.sqrt(np.clip(face[cells, 0], 0, 1) * np.clip(presence[cells, 0], 0, 1))
    cells, scores = cells[scores >= threshold], scores[scores >= threshold]
    rows, columns = np.divmod(cells, net_width // stride)
    corner = np.array([columns, rows], np.float32).T
    centre = (corner + box[cells, :2]) * np.float32(stride)
    half = np.exp(box[cells, 2:]) * np.float32(stride / 2)
    landmarks = (corner[:, None] + points[cells].reshape(-1, 5, 2)) * np.float32(stride)
    return Candidates(np.concatenate([centre - half, centre + half], axis=1), scores, landmarks)
