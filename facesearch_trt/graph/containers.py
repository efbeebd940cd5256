"""Reads how a video file is laid out, from its box headers alone: whether it is all there.

Demuxers play a file that was cut off up to its end and say nothing, so what is missing has to be read from the sizes
that the container itself declares.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["Layout", "layout_of"]

_MP4_FIRST = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx")
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067
_MOST_BOXES = 100_000
"""Where to stop in a file of very many fragments."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a container's own sizes say of a file."""

    missing_bytes: int = 0
    """How much of what the container declares lies beyond the end of the file; 0 where it cannot be told."""
    has_index: bool = True
    """Whether the description of the streams is there; False only for MP4 and its kin, where nothing works without."""


def layout_of(path: Path) -> Layout:
    """Return the layout of an MP4, MOV, Matroska, WebM or AVI file; the defaults for any other. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(12)
        file.seek(0)
        if start[4:8] in _MP4_FIRST:
            return _of_mp4(file, size)
        if start[:4] == _EBML:
            return Layout(max(0, _end_of_segment(file) - size))
        if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
            return Layout(max(0, _end_of_riffs(file, size) - size))
    return Layout()


def _of_mp4(file: BinaryIO, size: int) -> Layout:
    """Walk the boxes of the top level (ISO/IEC 14496-12, 4.2)."""
    end, has_index = 0, False
    for kind, box_end in _boxes(file, size):
        # Only these hold what is decoded; anything may follow them.
        if kind in (b"mdat", b"moov", b"moof"):
            end = max(end, box_end)
            has_index = has_index or (kind == b"moov" and box_end <= size)
    return Layout(max(0, end - size), has_index)


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    position = 0
    for _ in range(_MOST_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 0:
            length = size - position
        elif length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or not kind.isalnum():
            return
        position += length
        yield kind, position


def _end_of_segment(file: BinaryIO) -> int:
    """Return where a Matroska file's segment ends; 0 where it does not say (RFC 8794, 4 and 6.2)."""
    _, header_size = _element(file)
    if header_size is None:
        return 0
    file.seek(header_size, os.SEEK_CUR)
    kind, length = _element(file)
    return file.tell() + length if kind == _SEGMENT and length is not None else 0


def _element(file: BinaryIO) -> tuple[int, int | None]:
    """Read an EBML element's head: its id and the size of its content, None where that is unknown or unreadable."""
    kind = _number(file, keep_marker=True)
    length = _number(file, keep_marker=False)
    return kind or 0, length


def _number(file: BinaryIO, *, keep_marker: bool) -> int | None:
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1), "big")
    if keep_marker:
        return value
    value &= (1 << 7 * width) - 1
    return None if value == (1 << 7 * width) - 1 else value


def _end_of_riffs(file: BinaryIO, size: int) -> int:
    """Return where the last RIFF chunk of an AVI file ends; one above 1 GiB is made of several."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(8)
        if header[:4] != b"RIFF" or len(header) < 8:
            break
        length = int.from_bytes(header[4:], "little")
        if length == 0:
            break
        # Chunks are padded to even lengths.
        position += 8 + length + length % 2
    return position
