"""Reads how large a picture says it is, from its first bytes, so that a few bytes cannot ask for gigabytes."""

from __future__ import annotations

__all__ = ["image_size"]

_SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG's start-of-frame markers, ITU-T T.81, table B.1; the three others are tables."""
_BARE_MARKERS = {0x00, 0x01, *range(0xD0, 0xD9)}
"""JPEG markers without a length, and 0, which is none."""
_OS2_HEADER = 12
"""Length of a BMP's header in OS/2, which has sides of 16 bits."""


def image_size(content: bytes) -> tuple[int, int] | None:
    """Return the declared width and height of a JPEG, PNG, BMP or WebP; None for any other or a broken header."""
    if content[:2] == b"\xff\xd8":
        return _of_jpeg(content)
    if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) >= 24:
        return _big(content, 16, 4), _big(content, 20, 4)
    if content[:2] == b"BM" and len(content) >= 26:
        if _little(content, 14, 4) == _OS2_HEADER:
            return _little(content, 18, 2), _little(content, 20, 2)
        # A negative height says that the rows begin at the top.
        sides = (int.from_bytes(content[at : at + 4], "little", signed=True) for at in (18, 22))
        width, height = (abs(side) for side in sides)
        return width, height
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP" and len(content) >= 30:
        return _of_webp(content)
    return None


def _of_jpeg(content: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(content):
        # What lies between two segments is skipped, as decoders do.
        at = content.find(b"\xff", at)
        if at < 0 or at + 9 > len(content):
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        elif marker in _SIZE_MARKERS:
            return _big(content, at + 7, 2), _big(content, at + 5, 2)
        else:
            at += 2 + _big(content, at + 2, 2)
    return None


def _of_webp(content: bytes) -> tuple[int, int] | None:
    """Read the first chunk; RFC 9649, 2.5 to 2.7."""
    kind = content[12:16]
    if kind == b"VP8X":
        return _little(content, 24, 3) + 1, _little(content, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(content, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF
    return None


def _big(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "big")


def _little(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")
