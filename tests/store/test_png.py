"""Pictures are lossless, valid for other readers, and never half there."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch_trt.errors import StoreError
from facesearch_trt.store.png import encode_png, read_png


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.integers(0, 3))
def test_lossless(height: int, width: int, compression: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), np.uint8) >> random.integers(0, 8)
    data = encode_png(image, compression)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), image)


@pytest.mark.parametrize(("height", "width"), [(360, 640), (273, 640), (274, 320), (3, 90_000)])
def test_lossless_over_bands(height: int, width: int) -> None:
    """Sizes of several bands, of bands and one line, of lines longer than a band."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    data = encode_png(image, 1)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), image)


def test_lossless_with_gaps_between_lines() -> None:
    """A decoder's buffer may pad its lines; a chip may be a window of a larger picture."""
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)[5:40, 3:61]
    data = encode_png(image, 1)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), image)


def test_chunks_by_the_book() -> None:
    """Read with nothing but zlib: signature, lengths, checksums, one filter byte a line."""
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    data = encode_png(image, 1)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, []
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + content)
        chunks.append((kind, content))
        place += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">II5B", chunks[0][1]) == (7, 9, 8, 2, 0, 0, 0)
    lines = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(9, 22)
    assert (lines[:, 0] == 2).all()
    np.testing.assert_array_equal(np.cumsum(lines[:, 1:], axis=0, dtype=np.uint8), image[:, :, ::-1].reshape(9, 21))


@pytest.mark.parametrize("keep", [0, 10, 60, -1, -12, -13])
def test_cut_short(tmp_path: Path, keep: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    path = tmp_path / "frame_0000.png"
    path.write_bytes(encode_png(image, 1)[:keep])
    with pytest.raises(StoreError, match=r"frame_0000\.png: the picture is damaged\. Run video_to_frames\.py"):
        read_png(path, step="frames")


def test_byte_changed(tmp_path: Path) -> None:
    data = bytearray(encode_png(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8), 1))
    data[len(data) // 2] ^= 0x55
    path = tmp_path / "frame_0000.png"
    path.write_bytes(data)
    with pytest.raises(StoreError, match="the picture is damaged"):
        read_png(path, step="frames")
