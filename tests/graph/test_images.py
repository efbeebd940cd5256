from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesearch_trt.errors import DecodeError
from facesearch_trt.graph.exif import webp_orientation
from facesearch_trt.graph.image_size import image_size
from facesearch_trt.graph.images import MAX_BYTES, MAX_PIXELS, ImageSource, decode_image
from facesearch_trt.types import Array, Clip, Frame
from tests.media import number_of, numbered


def folder_clip(folder: Path) -> Clip:
    return Clip(folder.name, folder, "images", folder.with_name(folder.name + ".pipeline"))


def read(folder: Path) -> tuple[list[Frame], str | None]:
    with ImageSource(folder_clip(folder)) as source:
        return list(source), source.damage


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".bmp", ".webp"])
def test_reads_every_format_in_natural_order(tmp_path: Path, suffix: str) -> None:
    for number in range(12):
        assert cv2.imwrite(str(tmp_path / f"img{number}{suffix}"), numbered(number, (64 + number, 48)))
    frames, damage = read(tmp_path)
    assert [number_of(frame.image) for frame in frames] == list(range(12))
    assert [(frame.frame_num, frame.pts_s) for frame in frames] == [(number, float(number)) for number in range(12)]
    assert [(frame.width, frame.height) for frame in frames] == [(64 + number, 48) for number in range(12)]
    assert all(frame.image.shape == (frame.height, frame.width, 3) for frame in frames)
    assert not any(frame.image.flags.writeable for frame in frames)
    assert damage is None


def test_every_picture_becomes_bgr_of_8_bits(tmp_path: Path) -> None:
    colour = np.full((20, 30, 3), (10, 120, 250), np.uint8)
    pictures = {
        "1_16bit.png": colour.astype(np.uint16) << 8,
        "2_alpha.png": np.dstack([colour, np.full((20, 30), 128, np.uint8)]),
        "3_grey.png": np.full((20, 30), 77, np.uint8),
        "4_grey16.png": np.full((20, 30), 77 << 8, np.uint16),
    }
    for name, picture in pictures.items():
        assert cv2.imwrite(str(tmp_path / name), picture)
    frames, _ = read(tmp_path)
    assert [frame.image.dtype for frame in frames] == [np.uint8] * 4
    assert [tuple(frame.image[10, 10]) for frame in frames] == [(10, 120, 250)] * 2 + [(77, 77, 77)] * 2


TURNS: dict[int, Callable[[Array], Array]] = {
    # How an upright picture has to be stored so that this EXIF orientation turns it back.
    1: lambda image: image,
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
}


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHIHH", 0x0100, 3, 1, 7, 0) + struct.pack(
        f"{order}HHIHH", 0x0112, 3, 1, orientation, 0
    )
    return mark + struct.pack(f"{order}IH", 8, 2) + entries + bytes(4)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp(image: Array, *metadata: bytes, quality: int = 101) -> bytes:
    """Return a WebP file in the extended form, with more chunks."""
    _, coded = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])
    sides = b"".join((side - 1).to_bytes(3, "little") for side in image.shape[1::-1])
    body = b"WEBP" + chunk(b"VP8X", b"\x08\0\0\0" + sides) + coded.tobytes()[12:] + b"".join(metadata)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("orientation", TURNS)
def test_turns_pictures_upright_by_their_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = TURNS[orientation](numbered(5))
    if suffix == ".jpg":
        content = cv2.imencode(".jpg", stored)[1].tobytes()
        segment = b"Exif\0\0" + exif(orientation)
        content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    else:
        content = webp(stored, chunk(b"ICCP", b"odd"), chunk(b"EXIF", exif(orientation)))
    (tmp_path / f"turned{suffix}").write_bytes(content)
    ((frame,), _) = read(tmp_path)
    assert number_of(frame.image) == 5
    assert (frame.width, frame.height) == (128, 96)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_a_webp_says_its_orientation_in_any_order_of_bytes(order: str, prefix: bytes) -> None:
    assert webp_orientation(webp(numbered(5), chunk(b"EXIF", prefix + exif(6, order)))) == "rotate-90"


def test_a_webp_whose_exif_data_is_broken_is_upright() -> None:
    whole = exif(6)
    for length in range(len(whole)):
        content = webp(numbered(5), chunk(b"EXIF", whole[:length]))
        assert webp_orientation(content) in ("rotate-0", "rotate-90")
        assert not isinstance(decode_image(content), str)
    for orientation in (0, 9, 65535):
        assert webp_orientation(webp(numbered(5), chunk(b"EXIF", exif(orientation)))) == "rotate-0"
    assert webp_orientation(b"RIFF") == webp_orientation(webp(numbered(5))) == "rotate-0"


def test_reports_what_it_cannot_read_and_goes_on(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), numbered(number))
    (tmp_path / "0_text.jpg").write_text("no picture")
    (tmp_path / "1_empty.png").touch()
    whole = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "3_cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "4_link.jpg").symlink_to(tmp_path / "absent")
    (tmp_path / "5_folder.jpg").mkdir()
    os.mkfifo(tmp_path / "6_pipe.jpg")
    with (tmp_path / "7_huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    frames, damage = read(tmp_path)
    assert [(frame.frame_num, number_of(frame.image)) for frame in frames] == [(0, 0), (1, 1), (2, 2)]
    assert damage is not None
    assert damage.startswith("6 of 9 images could not be read")
    for name in (
        "0_text.jpg",
        "1_empty.png (empty)",
        "3_cut.jpg",
        "4_link.jpg (No such file",
        "6_pipe.jpg (no reg",
        "7_huge.jpg (2,1",
    ):
        assert name in damage


def test_a_folder_of_very_many_broken_images_has_a_short_report(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.jpg").touch()
    cv2.imwrite(str(tmp_path / "good.png"), numbered(1))
    _, damage = read(tmp_path)
    assert damage is not None
    assert damage.startswith("200 of 201")
    assert len(damage) < 500


def test_a_folder_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DecodeError) as caught:
        read(folder)
    assert str(folder) in str(caught.value)
    assert "a.jpg" in str(caught.value)
    assert "Copy the images again" in str(caught.value)
    with pytest.raises(DecodeError, match="No such file"):
        read(tmp_path / "absent")


def test_does_not_open_a_picture_that_asks_for_gigabytes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), numbered(1))
    content = bytearray((tmp_path / "good.png").read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    (tmp_path / "bomb.png").write_bytes(content)
    frames, damage = read(tmp_path)
    assert len(frames) == 1
    assert damage is not None
    assert "bomb.png (30000 × 30000 px is above the limit" in damage
    assert MAX_PIXELS < 30_000**2


@pytest.mark.parametrize(
    ("suffix", "parameters"),
    [
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".png", []),
        (".bmp", []),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_reads_sizes_from_headers(suffix: str, parameters: list[int], channels: int) -> None:
    picture = np.full((37, 301, channels), 128, np.uint8)
    _, content = cv2.imencode(suffix, picture, parameters)
    assert image_size(content.tobytes()) == (301, 37)


def test_reads_the_size_of_a_bitmap_of_os2(tmp_path: Path) -> None:
    width, height = 70, 50
    head = b"BM" + struct.pack("<IHHI", 26 + 212 * height, 0, 0, 26)
    content = head + struct.pack("<IHHHH", 12, width, height, 1, 24) + bytes([9]) * 212 * height
    assert image_size(content) == (width, height)
    (tmp_path / "old.bmp").write_bytes(content)
    ((frame,), _) = read(tmp_path)
    assert frame.image.shape == (height, width, 3)
    assert (frame.image == 9).all()


def test_what_lies_between_two_segments_of_a_jpeg_is_skipped(tmp_path: Path) -> None:
    content = cv2.imencode(".jpg", numbered(5))[1].tobytes()
    content = content[:2] + b"junk\xff\0junk" + content[2:]
    assert image_size(content) == (128, 96)


def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.jpg"), numbered(5))
    # Its size is not looked for, so it could be any.
    (tmp_path / "scan.jpg").write_bytes(cv2.imencode(".tiff", numbered(6))[1].tobytes())
    frames, damage = read(tmp_path)
    assert [number_of(frame.image) for frame in frames] == [5]
    assert damage == (
        "1 of 2 images could not be read: scan.jpg (no JPEG, PNG, BMP or WebP picture, or its header is damaged)"
    )


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff\xff", b"BM", b"RIFF\0\0\0\0WEBP", b"GIF89a"]
)
def test_a_header_that_says_no_size(content: bytes) -> None:
    assert image_size(content) is None
