"""Colour conversion and scaling of NV12 pictures in system memory."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from gi.repository import Gst, GstVideo

_KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def matrix_of(caps: Any) -> str:
    """Return which YUV the pictures of a stream are."""
    info = GstVideo.VideoInfo.new_from_caps(caps)
    return "bt709" if info.colorimetry.matrix == GstVideo.VideoColorMatrix.BT709 else "bt601"


def packed(buffer: Any, caps: Any) -> np.ndarray:
    """Return a buffer's NV12 picture as uint8 [H * 3 / 2, W], without the padding of its rows."""
    info = GstVideo.VideoInfo.new_from_caps(caps)
    width, height = info.width, info.height
    meta = GstVideo.buffer_get_video_meta(buffer)
    strides, offsets = (meta.stride, meta.offset) if meta is not None else (info.stride, info.offset)
    ok, mapping = buffer.map(Gst.MapFlags.READ)
    assert ok
    try:
        content = np.frombuffer(mapping.data, np.uint8)
        planes = []
        for plane, rows in ((0, height), (1, (height + 1) // 2)):
            start, stride = offsets[plane], strides[plane]
            last = start + stride * (rows - 1) + (width + 1) // 2 * 2
            piece = np.zeros(stride * rows, np.uint8)
            piece[: last - start] = content[start:last]
            planes.append(piece.reshape(rows, stride)[:, : (width + 1) // 2 * 2])
        return np.concatenate(planes)
    finally:
        buffer.unmap(mapping)


def rgba(nv12: np.ndarray, width: int, height: int, matrix: str) -> np.ndarray:
    """Return uint8 [H, W, 4] of a limited-range NV12 picture, to the bit as GStreamer's videoconvert makes it.

    That one computes with 8 fractional bits around 128 (``video_orc_convert_I420_BGRA``) and comes out 2.4 levels darker
    than the standard; a detector notices. The tables of two graphs can be compared only if both see the same colours.
    """
    of_luma, of_u, of_v = _tables(matrix)
    chroma = nv12[height:].reshape(-1, nv12.shape[1] // 2, 2)
    made = np.take(of_u, chroma[:, :, 0], axis=0) + np.take(of_v, chroma[:, :, 1], axis=0)
    made = made.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]
    made += np.take(of_luma, nv12[:height, :width])[:, :, None]
    np.clip(made, 0, 255, out=made)
    return cv2.cvtColor(made.astype(np.uint8), cv2.COLOR_RGB2RGBA)


@functools.cache
def _tables(matrix: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what luma, U and V of 0 to 255 add to each colour: int16 [256], [256, 3], [256, 3]."""
    kr, kb = _KR_KB[matrix]
    kg = 1 - kr - kb
    unit = 255 / 112 * 256
    of_u = (0, -unit * kb * (1 - kb) / kg, unit * (1 - kb))
    of_v = (unit * (1 - kr), -unit * kr * (1 - kr) / kg, 0)
    signed = np.arange(256) - 128
    byte = signed << 8 | signed & 255

    def table(factor: float) -> np.ndarray:
        return (byte * round(factor) >> 16).astype(np.int16)

    return table(255 / 219 * 256) + np.int16(128), *(
        np.stack([table(factor) for factor in row], 1) for row in (of_u, of_v)
    )


def scaled(nv12: np.ndarray, width: int, height: int, to: tuple[int, int]) -> np.ndarray:
    """Return an NV12 picture in another size."""
    to_width, to_height = to
    luma = cv2.resize(np.ascontiguousarray(nv12[:height, :width]), to, interpolation=cv2.INTER_LINEAR)
    chroma = nv12[height:].reshape(-1, nv12.shape[1] // 2, 2)
    chroma = cv2.resize(chroma, ((to_width + 1) // 2, (to_height + 1) // 2), interpolation=cv2.INTER_LINEAR)
    return _joined(luma, chroma)


def placed(nv12: np.ndarray, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Return a black NV12 canvas with a picture in its middle."""
    (width, height), (canvas_width, canvas_height) = size, canvas
    x, y = (canvas_width - width) // 2, (canvas_height - height) // 2
    luma = np.full((canvas_height, canvas_width), 16, np.uint8)
    luma[y : y + height, x : x + width] = nv12[:height, :width]
    chroma = np.full(((canvas_height + 1) // 2, (canvas_width + 1) // 2, 2), 128, np.uint8)
    part = nv12[height:].reshape(-1, nv12.shape[1] // 2, 2)
    room = chroma[y // 2 :, x // 2 :]
    rows, columns = min(len(part), len(room)), min(part.shape[1], room.shape[1])
    room[:rows, :columns] = part[:rows, :columns]
    return _joined(luma, chroma)


def turned(nv12: np.ndarray, width: int, height: int, method: int) -> tuple[np.ndarray, int, int]:
    """Return an NV12 picture turned by a flip-method of nvvideoconvert, with its new width and height."""
    luma = np.ascontiguousarray(nv12[:height, :width])
    chroma = np.ascontiguousarray(nv12[height:].reshape(-1, nv12.shape[1] // 2, 2))
    turn = {
        0: lambda a: a,
        1: lambda a: np.rot90(a, 1),
        2: lambda a: np.rot90(a, 2),
        3: lambda a: np.rot90(a, 3),
        4: lambda a: a[:, ::-1],
        5: lambda a: np.rot90(a, 1)[:, ::-1],
        6: lambda a: a[::-1],
        7: lambda a: np.rot90(a, 3)[:, ::-1],
    }[method]
    luma, chroma = (np.ascontiguousarray(turn(plane)) for plane in (luma, chroma))
    return _joined(luma, chroma), luma.shape[1], luma.shape[0]


def _joined(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    width = (luma.shape[1] + 1) // 2 * 2
    joined = np.zeros((luma.shape[0] + chroma.shape[0], width), np.uint8)
    joined[: luma.shape[0], : luma.shape[1]] = luma
    joined[luma.shape[0] :] = chroma.reshape(chroma.shape[0], -1)[:, :width]
    return joined
