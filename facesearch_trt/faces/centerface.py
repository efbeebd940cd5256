"""Reads CenterFace: a centre heat map, with size, offset and landmarks in every cell.

Source: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", and its published decoder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ModelError
from ..types import Array
from .candidates import Candidates
from .network import Tensor

__all__ = ["CenterFaceDecoder"]

_STRIDE = 4
_CHANNELS = [1, 2, 2, 10]


class CenterFaceDecoder:
    """Decoder of four maps of stride 4, in this order, vertical values before horizontal ones.

    Heat [B, 1, h, w]; logarithm of the size in strides [B, 2, h, w]; offset of the centre in cells [B, 2, h, w];
    landmarks as shares of the box [B, 10, h, w].

    Raises ModelError where a network's outputs are others.
    """

    edge_px = 0.0
    batched = True

    def __init__(self, outputs: Mapping[str, Tensor]) -> None:
        shapes = [tensor.shape for tensor in outputs.values()]
        if [shape[1] if len(shape) == 4 else None for shape in shapes] != _CHANNELS:
            raise ModelError("the network is no CenterFace", asked=f"maps of {_CHANNELS} channels", found=shapes)
        self._names = tuple(outputs)

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates of one picture; see :meth:`Decoder.decode`."""
        heat, log_size, offset, landmarks = (outputs[name][index] for name in self._names)
        cells = np.flatnonzero(heat >= threshold)
        rows, columns = np.divmod(cells, net_size[0] // _STRIDE)
        height, width = np.exp(log_size.reshape(2, -1)[:, cells]) * np.float32(_STRIDE)
        down, right = offset.reshape(2, -1)[:, cells]
        x1 = (columns + right + np.float32(0.5)) * _STRIDE - width / 2
        y1 = (rows + down + np.float32(0.5)) * _STRIDE - height / 2
        boxes = np.array([x1, y1, x1 + width, y1 + height], np.float32).T
        # Landmarks are placed from the box's corner, so the box must not have been clipped.
        share_y, share_x = landmarks.reshape(5, 2, -1)[:, :, cells].transpose(1, 2, 0)
        points = np.empty((len(cells), 5, 2), np.float32)
        points[:, :, 0] = share_x * width[:, None] + x1[:, None]
        points[:, :, 1] = share_y * height[:, None] + y1[:, None]
        return Candidates(boxes, heat.ravel()[cells], points)
