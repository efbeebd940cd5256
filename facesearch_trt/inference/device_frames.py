"""Pictures that lie in device memory, as decoders leave them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ..errors import EngineError
from ..types import Array
from .device import CudaDevice, CudaStream
from .device_memory import DeviceBuffer, PinnedBuffer

__all__ = ["FRAME_DTYPE", "DeviceFrame", "HostFrame", "YuvMatrix", "frame_table", "picture_from_nv12"]

YuvMatrix = Literal["bt601", "bt709"]

_FORMATS = {"bgr": 0, "nv12": 1}
# Weights of red and blue in luma: ITU-R BT.601 and BT.709.
_LUMA = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
_ONE = 1 << 16

FRAME_DTYPE = np.dtype(
    [("plane0", "u8"), ("plane1", "u8")]
    + [(name, "i4") for name in ("pitch0", "pitch1", "width", "height", "format")]
    + [(name, "i4") for name in ("y_offset", "y_gain", "v_to_r", "u_to_g", "v_to_g", "u_to_b", "unused")]
)
"""fs_frame of geometry.h."""


@dataclass(frozen=True, slots=True)
class DeviceFrame:
    """A picture in device memory; it must stay there until the work on it is done."""

    layout: Literal["bgr", "nv12"]
    """uint8: packed BGR, or NV12 (a plane of Y, then one of U and V by turns at half the size)."""
    width: int
    height: int
    """px"""
    planes: tuple[int, ...]
    """Device addresses: one, or two for NV12."""
    pitches: tuple[int, ...]
    """Bytes per row of each plane."""
    matrix: YuvMatrix = "bt601"
    """Which YUV an NV12 picture is in: BT.709 for most video of 720 rows and more."""
    full_range: bool = False
    """Y from 0 to 255 (JPEG) instead of 16 to 235 (video)."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.width, self.height

    def __post_init__(self) -> None:
        planes = 2 if self.layout == "nv12" else 1
        row = self.width * {"bgr": 3, "nv12": 1}[self.layout]
        fits = len(self.planes) == len(self.pitches) == planes and all(pitch >= row for pitch in self.pitches)
        if not fits or min(self.width, self.height) < 1:
            raise EngineError(
                "this is no such picture",
                asked=f"{self.layout} {self.width}x{self.height}",
                found=f"{len(self.planes)} planes with {list(self.pitches)} bytes per row",
            )


def frame_table(frames: list[DeviceFrame]) -> Array:
    """Return what the kernels read of each picture, FRAME_DTYPE [N]."""
    table = np.zeros(len(frames), FRAME_DTYPE)
    for row, frame in zip(table, frames, strict=True):
        row["plane0"], row["pitch0"] = frame.planes[0], frame.pitches[0]
        row["width"], row["height"], row["format"] = frame.width, frame.height, _FORMATS[frame.layout]
        if frame.layout == "nv12":
            row["plane1"], row["pitch1"] = frame.planes[1], frame.pitches[1]
            for name, value in _yuv(frame.matrix, frame.full_range).items():
                row[name] = value
    return table


def picture_from_nv12(luma: Array, chroma: Array, matrix: YuvMatrix = "bt601", *, full_range: bool = False) -> Array:
    """Return uint8 [H, W, 3] BGR of an NV12 picture: what the kernels make of it, to the bit.

    Parameters
    ----------
    luma: uint8 [H, W].
    chroma: uint8 [H / 2, W / 2, 2], rounded up, U and V; each serves two by two pixels.
    """
    height, width = luma.shape
    yuv = _yuv(matrix, full_range)
    bright, around = np.maximum(np.arange(256) - yuv["y_offset"], 0), np.arange(256) - 128
    grey = cv2.LUT(luma, (bright * yuv["y_gain"] + _ONE // 2).astype(np.int32))
    blue_of_u, green_of_u, green_of_v, red_of_v = (
        (around * yuv[name]).astype(np.int32) for name in ("u_to_b", "u_to_g", "v_to_g", "v_to_r")
    )
    u, v = cv2.split(chroma)
    shifts = cv2.LUT(u, blue_of_u), cv2.add(cv2.LUT(u, green_of_u), cv2.LUT(v, green_of_v)), cv2.LUT(v, red_of_v)
    # Each value of chroma serves two by two pixels, also at an odd edge.
    size = 2 * chroma.shape[1], 2 * chroma.shape[0]
    planes = []
    for shift in shifts:
        # OpenCV's resize takes no int32, but moves any four bytes.
        wide = cv2.resize(shift.view(np.float32), size, interpolation=cv2.INTER_NEAREST).view(np.int32)
        sums = cv2.add(grey, wide[:height, :width])
        # The upper halves are the sums divided by 2^16; OpenCV cuts them off at 0 and 255.
        upper = cv2.extractChannel(sums.view(np.int16).reshape(height, width, 2), 1)
        planes.append(cv2.add(upper, 0, dtype=cv2.CV_8U))
    bgr: Array = cv2.merge(planes)
    return bgr


def _yuv(matrix: YuvMatrix, full_range: bool) -> dict[str, int]:
    # ITU-R BT.601 and BT.709, 8 bits: Y' spans 219 and the differences 224 steps in video range, 255 each in full
    # range.
    red, blue = _LUMA[matrix]
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    values = {
        "y_gain": luma,
        "v_to_r": chroma * 2 * (1 - red),
        "u_to_b": chroma * 2 * (1 - blue),
        "u_to_g": -chroma * 2 * (1 - blue) * blue / green,
        "v_to_g": -chroma * 2 * (1 - red) * red / green,
    }
    return {"y_offset": 0 if full_range else 16, **{name: round(value * _ONE) for name, value in values.items()}}


class HostFrame:
    """Puts BGR pictures from the host on the device, one after another in the same memory.

    All methods want an active device.
    """

    def __init__(self, device: CudaDevice, stream: CudaStream) -> None:
        self._device = device
        self._stream = stream
        self._buffer: DeviceBuffer | None = None
        self._host: PinnedBuffer | None = None

    def upload(self, image: Array) -> DeviceFrame:
        """Return the picture, uint8 [H, W, 3] BGR, on the device; the one before is gone."""
        height, width = image.shape[:2]
        if self._buffer is None or self._host is None or self._buffer.nbytes < image.nbytes:
            self.close()
            self._buffer = self._device.allocate(image.nbytes, f"a frame of {width}x{height}")
            self._host = self._device.pinned(image.nbytes)
        view = self._host.view(image.shape, np.uint8)
        view[...] = image
        self._stream.upload(self._buffer.pointer, view)
        self._stream.synchronize()
        return DeviceFrame("bgr", width, height, (self._buffer.pointer,), (3 * width,))

    def close(self) -> None:
        """Free the memory; more than once does no harm."""
        for buffer in (self._buffer, self._host):
            if buffer is not None:
                buffer.close()
        self._buffer, self._host = None, None
