"""Reads which way is up in a WebP picture, which OpenCV does for JPEG and PNG only."""

from __future__ import annotations

import struct

from .orientation import UPRIGHT

__all__ = ["webp_orientation"]

_ORIENTATION = 0x0112
_SHORT = 3
_NAMES = {
    2: "flip-rotate-0",
    3: "rotate-180",
    4: "flip-rotate-180",
    5: "flip-rotate-270",
    6: "rotate-90",
    7: "flip-rotate-90",
    8: "rotate-270",
}
"""EXIF's orientation (CIPA DC-008, 4.6.5.1.6) → GStreamer's image-orientation tag."""


def webp_orientation(content: bytes) -> str:
    """Return a WebP picture's orientation as :func:`.orientation.upright` takes it; ``UPRIGHT`` where it says none."""
    at = 12
    # Chunks: a name, a length, the content, padded to even lengths (RFC 9649, 2.3).
    while at + 8 <= len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"EXIF":
            return _NAMES.get(_of_tiff(content[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")), UPRIGHT)
        at += 8 + length + length % 2
    return UPRIGHT


def _of_tiff(tiff: bytes) -> int:
    """Return the orientation in the first directory of a TIFF file (TIFF 6.0, section 2), 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 1
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * entry)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return int(value)
    except struct.error:
        pass  # cut off
    return 1
