"""Reads CenterFace: a centre heat map with sizes, offsets and landmarks per cell.

Source: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", and the decoder of the published weights.
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
_CHANNELS = (1, 2, 2, 10)


class CenterFaceDecoder:
    """Decoder of four maps at stride 4: heat [B, 1, h, w], log size [B, 2], offset [B, 2] and landmarks [B, 10], rows before columns."""

    box_edge_px = 0.0

    def check(self, outputs: Mapping[str, Tensor]) -> None:
        """Raise ModelError where the outputs are not heat map, size, offset and landmarks in this order."""
        shapes = [tensor.shape for tensor in outputs.values()]
        channels = tuple(shape[1] if len(shape) == 4 else None for shape in shapes)
        if channels != _CHANNELS:
            raise ModelError("the network is no CenterFace", asked=f"maps of {_CHANNELS} channels", found=shapes)

    def decode(
        self, outputs: Mapping[str, Array], index: int, net_size: tuple[int, int], threshold: float
    ) -> Candidates:
        """Return the candidates of one picture; see :meth:`Decoder.decode`."""
        heat, log_size, offset, landmarks = (output[index] for output in outputs.values())
        cells = np.flatnonzero(heat[0].ravel() >= threshold)
        rows, columns = np.divmod(cells, heat.shape[-1])
        scores = heat[0].ravel()[cells]
        # A broken network's exp may overflow; what is not finite is dropped with the other useless candidates.
        with np.errstate(over="ignore"):
            height, width = np.exp(log_size.reshape(2, -1)[:, cells]) * np.float32(_STRIDE)
        row_offset, column_offset = offset.reshape(2, -1)[:, cells]
        x1 = (columns + column_offset + np.float32(0.5)) * _STRIDE - width / 2
        y1 = (rows + row_offset + np.float32(0.5)) * _STRIDE - height / 2
        boxes = np.stack([x1, y1, x1 + width, y1 + height], axis=1)
        # Landmarks are fractions of the box from its corner, so the box must not be clipped before they are placed.
        shares = landmarks.reshape(5, 2, -1)[:, :, cells].transpose(2, 0, 1)
        points = np.stack(
            [shares[:, :, 1] * width[:, None] + x1[:, None], shares[:, :, 0] * height[:, None] + y1[:, None]], axis=2
        )
        return Candidates(boxes.astype(np.float32), scores.astype(np.float32), points.astype(np.float32))
