"""From a photo to the embedding of the face that is searched for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import InputError, OptionError
from .faces.detect import with_chips
from .graph.image_size import image_size
from .graph.images import decode_image
from .types import Array, FaceBatch
from .wiring import Tools

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "PhotoFace",
    "faces_of_photo",
    "photo_bytes",
    "picture_from_bytes",
    "read_photo",
    "the_face",
]

MAX_BYTES = 1 << 26
"""Largest file that is opened as a photo: 64 MiB."""
MAX_PIXELS = 1 << 26
"""Most pixels that are decoded: 67 million, 200 MB. Larger ones may be bombs: a few bytes that decode to gigabytes."""

_TRUSTED_QUALITY = 0.25
"""Below this quality a face's embedding resembles that of many strangers; see faces/quality.py."""
_WITH_BORDER_PX = 1024
"""Longest side of a photo that is looked at again with a border."""


@dataclass(frozen=True, slots=True)
class PhotoFace:
    """The face of a photo that is searched for."""

    vector: Array
    """float32 [D], as the network gives it."""
    box: tuple[float, float, float, float]
    """x1 y1 x2 y2, px of the photo."""
    quality: float
    """0 to 1."""

    @property
    def warning(self) -> str | None:
        """Why a search with this face may mislead; None where nothing is wrong with it."""
        if self.quality >= _TRUSTED_QUALITY:
            return None
        side = min(self.box[2] - self.box[0], self.box[3] - self.box[1])
        return (
            f"the face is small, blurred or turned away ({side:.0f} px wide, quality {self.quality:.2f}):"
            " strangers may resemble it; a better photo finds more"
        )


def read_photo(path: Path) -> Array:
    """Return a photo, uint8 [H, W, 3] BGR, turned upright as its EXIF data says.

    Raises InputError as :func:`picture_from_bytes` does, and where the file cannot be read.
    """
    return picture_from_bytes(photo_bytes(path), str(path))


def photo_bytes(path: Path) -> bytes:
    """Return the content of a photo's file, of one that is too large the beginning. Raises InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror, remedy="Give a photo.") from error


def picture_from_bytes(content: bytes, name: str) -> Array:
    """Return a photo from the bytes of its file; ``name`` is what an error calls it.

    Raises InputError where it is too large, in bytes or in pixels, or no picture.
    """
    if len(content) > MAX_BYTES:
        raise InputError("is too large for a photo", where=name, found=f"more than {MAX_BYTES >> 20} MiB")
    size = image_size(content)
    if size is None:
        # Formats whose size cannot be told beforehand are not decoded at all.
        raise InputError("is not a JPEG, PNG, BMP or WebP picture", where=name, remedy="Save it as one of these.")
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            "is too large for a photo",
            where=name,
            asked=f"at most {MAX_PIXELS:,} pixels",
            found=f"{size[0]} x {size[1]}",
            remedy="Cut the face out, or make it smaller.",
        )
    image = decode_image(content)
    if isinstance(image, str):
        raise InputError("is a damaged picture", where=name, remedy="Copy it again, or save it anew.")
    return image


def faces_of_photo(image: Array, tools: Tools) -> FaceBatch:
    """Return all faces of a photo, uint8 [H, W, 3] BGR, with chips and quality, the largest first."""
    (faces,) = tools.detector.detect([image])
    scale, border = 1.0, 0
    if not len(faces):
        # A face that fills the picture, as a chip does, is found where there is something around it.
        scale = min(1.0, _WITH_BORDER_PX / max(image.shape[:2]))
        image = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        border = max(image.shape[:2]) // 2
        image = cv2.copyMakeBorder(
            image, border, border, border, border, cv2.BORDER_CONSTANT, value=(128.0, 128.0, 128.0)
        )
        (faces,) = tools.detector.detect([image])
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    faces = with_chips(faces.select(np.argsort(-sides.prod(axis=1), kind="stable")), image, tools.aligner)
    faces.boxes, faces.landmarks = (faces.boxes - border) / scale, (faces.landmarks - border) / scale
    return faces


def the_face(faces: FaceBatch, tools: Tools, name: str, *, number: int | None = None) -> PhotoFace:
    """Return the face of a photo that was asked for by its number from 1, or the only one.

    Raises InputError where there is none, OptionError where there are several and none was chosen, or no such one: the
    message tells them apart.
    """
    if not len(faces):
        raise InputError(
            "shows no face", where=name, remedy="Give a photo in which the face is seen from the front and sharp."
        )
    if number is None and len(faces) > 1:
        raise OptionError(
            f"shows {len(faces)} faces",
            where=name,
            found=_listed(faces),
            remedy="Say which one with --face N, or cut it out.",
        )
    number = 1 if number is None else number
    if not 1 <= number <= len(faces):
        raise OptionError("has no such face", where=name, asked=number, found=_listed(faces))
    chosen = faces.select(np.array([number - 1]))
    assert chosen.chips is not None
    assert chosen.quality is not None
    x1, y1, x2, y2 = chosen.boxes[0].tolist()
    return PhotoFace(tools.embedder.embed(chosen.chips)[0], (x1, y1, x2, y2), float(chosen.quality[0, 3]))


def _listed(faces: FaceBatch) -> str:
    places = [
        f"{number}: {x2 - x1:.0f} x {y2 - y1:.0f} px at ({x1:.0f}, {y1:.0f})"
        for number, (x1, y1, x2, y2) in enumerate(faces.boxes[:20].tolist(), start=1)
    ]
    return "; ".join(places) + ("; ..." if len(faces) > 20 else "")
