"""NV12 to BGR as the kernels do it, in plain numpy: what both the kernels and the fast way on the CPU are held against."""

from __future__ import annotations

import numpy as np

from facesearch_trt.inference.device_frames import _ONE, YuvMatrix, _yuv
from facesearch_trt.types import Array


def bgr_from_nv12(luma: Array, chroma: Array, matrix: YuvMatrix = "bt601", *, full_range: bool = False) -> Array:
    """Return uint8 [H, W, 3] BGR; the parameters are those of ``picture_from_nv12``."""
    height, width = luma.shape
    yuv = _yuv(matrix, full_range)
    y = np.maximum(luma.astype(np.int64) - yuv["y_offset"], 0) * yuv["y_gain"]
    u, v = np.moveaxis(chroma.astype(np.int64) - 128, 2, 0).repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
    blue = y + yuv["u_to_b"] * u
    green = y + yuv["u_to_g"] * u + yuv["v_to_g"] * v
    red = y + yuv["v_to_r"] * v
    bgr: Array = (np.stack([blue, green, red], axis=2) + _ONE // 2) >> 16
    return np.clip(bgr, 0, 255).astype(np.uint8)
