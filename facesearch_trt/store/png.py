"""Lossless pictures on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..errors import StoreError
from ..types import Array
from .files import write_bytes
from .schema import StepName, redo

__all__ = ["encode_png", "read_png", "write_png"]


def encode_png(image: Array, compression: int) -> memoryview:
    """Return a uint8 [H, W, 3] BGR picture as a PNG file's bytes; ``compression`` is zlib's level, 0 to 9.

    Level 1 leaves the choice to OpenCV, which then takes the Sub filter and run lengths: the fastest of all settings,
    level 0 included (benchmarks/bench_png.py). The other levels search the filters line by line.
    """
    parameters = [] if compression == 1 else [cv2.IMWRITE_PNG_COMPRESSION, compression]
    _, data = cv2.imencode(".png", image, parameters)
    return data.data


def write_png(path: Path, image: Array, compression: int) -> None:
    """Write a picture. Raises OSError where the disk refuses; ``cv2.imwrite`` would only return False."""
    write_bytes(path, encode_png(image, compression))


def read_png(path: Path, *, step: StepName) -> Array:
    """Return a picture as uint8 [H, W, 3] BGR, read-only.

    Raises StoreError, with ``step`` to do again, where there is none.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise StoreError("cannot read a picture", where=path, found=error.strerror, remedy=redo(step)) from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise StoreError("the picture is damaged", where=path, remedy=redo(step))
    image.flags.writeable = False
    return np.asarray(image)
