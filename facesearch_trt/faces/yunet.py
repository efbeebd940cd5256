"""Reads YuNet: one anchor-free prediction per cell at strides 8, 16 and 32.

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
_HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class YuNetDecoder:
    """Decoder of ``cls_s``, ``obj_s`` [B, n, 1], ``bbox_s`` [B, n, 4] and ``kps_s`` [B, n, 10] for the strides s, cells row by row."""

    box_edge_px = 0.0

    def check(self, outputs: Mapping[str, Tensor]) -> None:
        """Raise ModelError where one of the twelve outputs is missing."""
        wanted = {f"{head}_{stride}" for head in _HEADS for stride in _STRIDES}
        if not wanted <= outputs.keys():
            raise ModelError("the network is no YuNet", asked=f"outputs {sorted(wanted)}", found=list(outputs))

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates of one picture; see :meth:`Decoder.decode`."""
        return Candidates.concatenate([_level(outputs, index, net_size[0], stride, threshold) for stride in _STRIDES])


def _level(outputs: Mapping[str, Array], index: int, net_width: int, stride: int, threshold: float) -> Candidates:
    face, presence, box, points = (
        outputs[f"{head}_{stride}"][index].reshape(-1, values) for head, values in _HEADS.items()
    )
    scores = np.sqrt(np.clip(face[:, 0], 0, 1) * np.clip(presence[:, 0], 0, 1))
    cells = np.flatnonzero(scores >= threshold)
    rows, columns = np.divmod(cells, net_width // stride)
    corner = np.stack([columns, rows], axis=1).astype(np.float32)
    centre = (corner + box[cells, :2]) * stride
    # A broken network's exp may overflow; what is not finite is dropped with the other useless candidates.
    with np.errstate(over="ignore"):
        half = np.exp(box[cells, 2:]) * np.float32(stride / 2)
    landmarks = (corner[:, None] + points[cells].reshape(-1, 5, 2)) * stride
    return Candidates(np.concatenate([centre - half, centre + half], axis=1), scores[cells], landmarks)
