"""A small clip with three people, made from photographs in the public domain, for a first run and for tests.

The photographs come out of packages on the package index: the NASA portrait of Eileen Collins from scikit-image, and White House
portraits of Barack Obama and Joe Biden (works of the US government) from the tests of face_recognition. The clip pans and zooms over
them in three shots with a change of light, two people at once in the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import InputError
from .graph.encode import write_video
from .models.entries import PypiSource
from .models.package_files import fetch_package_files
from .types import Array

__all__ = ["FPS", "PICTURES", "SIZE", "Picture", "frames", "make", "pictures", "truth"]

FPS = 25
SIZE = (640, 360)
"""Width and height of the clip, px."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph inside a package on the package index, and where its face is."""

    source: PypiSource
    sha256: str
    face: tuple[int, int, int, int]
    """x1 y1 x2 y2 of the face in the photograph, px; forehead to chin, as a detector draws it."""


def _collins(name: str) -> PypiSource:
    # One wheel per platform, so no one sum of the archive; the picture's own sum is checked.
    return PypiSource("scikit-image", "0.25.2", "wheel", f"skimage/data/{name}", None)


def _white_house(name: str) -> PypiSource:
    archive = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
    return PypiSource("face_recognition", "1.3.0", "sdist", f"tests/test_images/{name}", archive)


PICTURES: Mapping[str, Picture] = {
    "collins": Picture(
        _collins("astronaut.png"),
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        (180, 66, 268, 180),
    ),
    "obama": Picture(
        _white_house("obama.jpg"),
        "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
        (380, 85, 600, 405),
    ),
    "obama_2": Picture(
        _white_house("obama2.jpg"),
        "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
        (200, 235, 470, 615),
    ),
    "biden": Picture(
        _white_house("biden.jpg"),
        "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        (450, 160, 725, 550),
    ),
}


@dataclass(frozen=True, slots=True)
class _Panel:
    """A part of the screen that shows one photograph, moving."""

    picture: str
    person: str
    left: float
    right: float
    """Edges as fractions of the screen's width."""
    height: tuple[float, float]
    """Height of the face at the start and end, as a fraction of the screen's."""
    drift: tuple[float, float]
    """How far the face wanders to both sides and up and down, as fractions of the panel."""


@dataclass(frozen=True, slots=True)
class _Shot:
    frames: int
    panels: tuple[_Panel, ...]
    dimmest: float = 1.0
    """Light in the middle of the shot; 1 is the photograph's own."""


_SHOTS = (
    _Shot(50, (_Panel("collins", "collins", 0.0, 1.0, (0.30, 0.45), (0.12, 0.05)),)),
    _Shot(
        75,
        (
            _Panel("obama", "obama", 0.0, 0.5, (0.30, 0.38), (0.08, 0.05)),
            _Panel("biden", "biden", 0.5, 1.0, (0.40, 0.30), (0.08, 0.05)),
        ),
        dimmest=0.45,
    ),
    _Shot(
        50,
        (
            _Panel("collins", "collins", 0.0, 0.5, (0.38, 0.28), (0.06, 0.05)),
            _Panel("obama_2", "obama", 0.5, 1.0, (0.28, 0.38), (0.06, 0.05)),
        ),
    ),
)


def _views() -> Iterator[tuple[_Shot, float, list[tuple[_Panel, Array]]]]:
    """Yield per frame its shot, its place in it (0 to 1), and each panel with the 2x3 map from photograph to panel."""
    width, height = SIZE
    for shot in _SHOTS:
        for index in range(shot.frames):
            at = index / (shot.frames - 1)
            maps = []
            for panel in shot.panels:
                x1, y1, x2, y2 = PICTURES[panel.picture].face
                first, last = panel.height
                scale = (first + (last - first) * at) * height / (y2 - y1)
                wide = (panel.right - panel.left) * width
                swing = np.sin(2 * np.pi * at)
                centre_x = wide * (0.5 + panel.drift[0] * swing)
                centre_y = height * (0.45 + panel.drift[1] * (1 - 2 * at))
                shift = (centre_x - scale * (x1 + x2) / 2, centre_y - scale * (y1 + y2) / 2)
                maps.append((panel, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)))
            yield shot, at, maps


def _read(path: Path) -> Array:
    # The astronaut's picture carries a colour profile that libpng complains of on standard error; OpenCV uses none in any case.
    content = path.read_bytes()
    start = content.find(b"iCCP") - 4
    if content.startswith(b"\x89PNG") and start > 0:
        length = int.from_bytes(content[start : start + 4], "big")
        content = content[:start] + content[start + 12 + length :]
    image: Array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return image


def frames(pictures: Mapping[str, Path]) -> Iterator[Array]:
    """Yield the clip's frames, uint8 [H, W, 3] BGR, from the files of :data:`PICTURES` by name."""
    images = {name: _read(path) for name, path in pictures.items()}
    width, height = SIZE
    for shot, at, maps in _views():
        screen = np.zeros((height, width, 3), np.uint8)
        for panel, matrix in maps:
            left, right = round(panel.left * width), round(panel.right * width)
            # The photographs are much larger than the panel: shrink first, or the warp would alias.
            image, reduced = images[panel.picture], matrix.copy()
            while reduced[0, 0] < 0.5:
                image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                reduced[:, :2] *= 2
            size = (right - left, height)
            screen[:, left:right] = cv2.warpAffine(
                image, reduced, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        light = 1 - (1 - shot.dimmest) * np.sin(np.pi * at)
        yield cv2.convertScaleAbs(screen, alpha=light)


def truth() -> Iterator[tuple[int, float, float, float, float, str]]:
    """Yield frame_num, x1, y1, x2, y2 in px and the person for every face of the clip."""
    for frame_num, (_, _, maps) in enumerate(_views()):
        for panel, matrix in maps:
            x1, y1, x2, y2 = PICTURES[panel.picture].face
            scale, left = matrix[0, 0], panel.left * SIZE[0]
            shift_x, shift_y = left + matrix[0, 2], matrix[1, 2]
            yield (
                frame_num,
                scale * x1 + shift_x,
                scale * y1 + shift_y,
                scale * x2 + shift_x,
                scale * y2 + shift_y,
                panel.person,
            )


def pictures() -> dict[str, Path]:
    """Return the files of :data:`PICTURES` by name, fetched where they are not yet on this machine.

    Raises FetchError or ChecksumError.
    """
    places = fetch_package_files({picture.source: picture.sha256 for picture in PICTURES.values()})
    return {name: places[picture.source] for name, picture in PICTURES.items()}


def make(directory: Path) -> Path:
    """Write the clip as ``demo.mp4`` into a directory, unless it is there, and return its path.

    Raises InputError where there can be no such directory, and as :func:`pictures` and :func:`write_video` do.
    """
    path = directory / "demo.mp4"
    if not path.exists():
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("cannot make the directory", where=directory, found=error.strerror) from error
        write_video(path, frames(pictures()), FPS)
    return path
