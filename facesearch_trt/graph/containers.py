"""Reads how a video file is laid out, from its box headers alone: whether it is all there, and how many frames it has.

Demuxers play a file that was cut off up to its end and say nothing, so what is missing has to be read from the sizes
that the container itself declares.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import DecodeError

__all__ = ["Layout", "checked_layout", "layout_of", "resized", "size_of"]

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
    frames: int | None = None
    """How many frames the index of an MP4 or MOV file lists for its first video; None for any other."""
    edited: bool = False
    """Whether an edit list says which part of that video is shown, and when."""


def checked_layout(path: Path) -> Layout:
    """Return the file's layout. Raises DecodeError where there is no use in starting a decoder."""
    try:
        status = path.stat()
        # A pipe or device has no layout to look at, and to look would take its data away.
        layout = layout_of(path) if stat.S_ISREG(status.st_mode) else Layout()
    except OSError as error:
        raise DecodeError(
            "cannot be read", where=path, found=error.strerror, remedy="Check that it is there and its permissions."
        ) from error
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise DecodeError("is empty", where=path, remedy="Copy or record it again.")
    if not layout.has_index:
        raise DecodeError(
            "has no index (its moov box): the recording or copy was cut off before it was finished",
            where=path,
            remedy="Copy or record it again; a tool like untrunc can repair it.",
        )
    return layout


def size_of(path: Path) -> int:
    """Return a file's size in bytes; 0 of a pipe, and where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def resized(path: Path, before: int) -> list[str]:
    """Return what to say of a file that has another size than ``before``: nothing where it has not."""
    after = size_of(path)
    return [f"its size changed from {before:,} to {after:,} bytes while it was read"] if after != before else []


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
    end, has_index, frames, edited = 0, False, None, False
    for kind, start, box_end in _boxes(file, 0, size):
        # Only these hold what is decoded; anything may follow them.
        if kind in (b"mdat", b"moov", b"moof"):
            end = max(end, box_end)
        if kind == b"moov" and box_end <= size:
            has_index = True
            frames, edited = _first_video(file, start, box_end)
    return Layout(max(0, end - size), has_index, frames, edited)


def _first_video(file: BinaryIO, start: int, end: int) -> tuple[int | None, bool]:
    """Return the first video track's sample count, None where fragments hold them, and whether it has an edit list."""
    for kind, *track in _boxes(file, start, end):
        if kind != b"trak" or (media := _find(file, track, b"mdia")) is None:
            continue
        handler = _find(file, media, b"hdlr")
        sizes = _find(file, media, b"minf", b"stbl", b"stsz")
        # Both begin with version and flags: 8.4.3 and 8.7.3.2.
        if handler is None or sizes is None or _read(file, handler[0] + 8, 4) != b"vide":
            continue
        frames = int.from_bytes(_read(file, sizes[0] + 8, 4), "big") or None
        return frames, _find(file, track, b"edts", b"elst") is not None
    return None, False


def _find(file: BinaryIO, within: Sequence[int], *path: bytes) -> tuple[int, int] | None:
    """Return start and end of the content of the box that a path of box types leads to."""
    start, end = within
    for wanted in path:
        for kind, inner, inner_end in _boxes(file, start, end):
            if kind == wanted:
                start, end = inner, inner_end
                break
        else:
            return None
    return start, end


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start of the content and end of the boxes from ``start`` on; the last may end beyond ``end``."""
    position = start
    for _ in range(_MOST_BOXES):
        header = _read(file, position, 16) if position < end else b""
        if len(header) < 8:
            return
        length, kind, head = int.from_bytes(header[:4], "big"), header[4:8], 8
        if length == 0:
            length = end - position
        elif length == 1:
            length, head = int.from_bytes(header[8:16], "big"), 16
        if length < head or not kind.isalnum():
            return
        yield kind, position + head, position + length
        position += length


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


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
        header = _read(file, position, 8)
        if header[:4] != b"RIFF" or len(header) < 8:
            break
        length = int.from_bytes(header[4:], "little")
        if length == 0:
            break
        # Chunks are padded to even lengths.
        position += 8 + length + length % 2
    return position
