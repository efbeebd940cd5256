"""Photos that are searched for: what is refused before it is decoded, and what is damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt import photo
from facesearch_trt.config import Options
from facesearch_trt.errors import InputError
from facesearch_trt.people.gallery import embed_photos
from facesearch_trt.photo import picture_from_bytes, read_photo
from facesearch_trt.wiring import Tools


def coded(suffix: str, width: int = 30, height: int = 20) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(suffix, image)[1].tobytes())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_usual_pictures(suffix: str) -> None:
    assert picture_from_bytes(coded(suffix), "p").shape == (20, 30, 3)


def grown(content: bytes, at: int, form: str, *sides: int) -> bytes:
    """Return a picture whose header says other sides."""
    return content[:at] + struct.pack(form, *sides) + content[at + struct.calcsize(form) :]


JPEG = coded(".jpg")
BOMBS = {
    "png": grown(coded(".png"), 16, ">II", 100_000, 100_000),
    "png of one long row": grown(coded(".png"), 16, ">II", 2**31 - 1, 1),
    "bmp": grown(coded(".bmp"), 18, "<ii", 50_000, -50_000),
    "jpeg": grown(JPEG, JPEG.index(b"\xff\xc0") + 5, ">HH", 65_535, 65_535),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_not_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(InputError, match="too large"):
        picture_from_bytes(BOMBS[name], "p")


def test_no_more_is_read_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo, "MAX_BYTES", 1000)
    (tmp_path / "large.png").write_bytes(coded(".png") + bytes(2000))
    with pytest.raises(InputError, match="too large"):
        read_photo(tmp_path / "large.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path / "gone.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_cut_off(suffix: str) -> None:
    """Whatever is cut off is refused or decoded as far as it goes, but nothing else happens."""
    whole = coded(suffix, 60, 40)
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        try:
            assert picture_from_bytes(whole[:length], "p").shape == (40, 60, 3)
        except InputError as error:
            assert "p: " in str(error)


def test_noise() -> None:
    rng = np.random.default_rng(1)
    heads = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\x10\0\0\0WEBPVP8 ", b"")
    for number in range(200):
        content = heads[number % len(heads)] + rng.integers(0, 256, 200, np.uint8).tobytes()
        with pytest.raises(InputError):
            picture_from_bytes(content, "p")


@pytest.mark.parametrize("name", BOMBS)
def test_a_gallery_has_the_same_limits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb, long = tmp_path / "bomb", tmp_path / "long"
    bomb.write_bytes(BOMBS[name])
    long.write_bytes(coded(".png") + bytes(2000))
    monkeypatch.setattr(photo, "MAX_BYTES", 1000)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with Tools(Options()) as tools:
        found = list(embed_photos({"Ann": [bomb, long, tmp_path / "none"]}, tools))
    assert [(one.vector, one.problem) for one in found] == [
        (None, "is too large for a photo"),
        (None, "is too large for a photo"),
        (None, "cannot be read (No such file or directory)"),
    ]
