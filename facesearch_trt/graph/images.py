"""Reads a folder of images as the frames of a clip."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ..errors import DecodeError
from ..types import Array, Clip, Frame
from .exif import webp_orientation
from .image_size import image_size
from .inputs import images_of, natural_key
from .orientation import upright

__all__ = ["MAX_BYTES", "MAX_PIXELS", "ImageSource", "decode_image"]

MAX_PIXELS = 1 << 28
"""Most pixels of an image that is opened: 268 million, 0.8 GB decoded. Phones make up to 200 million."""

MAX_BYTES = 1 << 31
"""Largest file that is opened: as many bytes as that many pixels of four colours of 16 bits have."""

_NAMED = 10
"""How many unreadable images the report names."""


class ImageSource:
    """The pictures of a folder in natural order of their names; a :class:`~facesearch_trt.types.FrameSource`.

    Each is a read-only uint8 [H, W, 3] BGR array of its own size, turned upright as its EXIF data says; of 16 bits
    the upper 8 are used, grey becomes three equal channels, transparency is dropped. ``frame_num`` counts the
    pictures that could be read, ``pts_s`` is the same number. What cannot be read, has more than :data:`MAX_BYTES` or
    says that it has more than :data:`MAX_PIXELS`, is left out, and ``damage`` names it. Raises DecodeError where no
    picture of the folder can be read.
    """

    graph = "images"
    finds_faces = False

    def __init__(self, clip: Clip) -> None:
        if clip.source is None:
            raise DecodeError("its images are not at hand", where=clip.name, remedy="Put them beside their results.")
        self.damage: str | None = None
        self._folder: Path = clip.source

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between two pictures."""

    def __iter__(self) -> Iterator[Frame]:
        paths = self._paths()
        self.damage = None
        unread: list[str] = []
        unread_count = frame_num = 0
        for path in paths:
            image = _read(path)
            if isinstance(image, str):
                unread_count += 1
                if len(unread) < _NAMED:
                    unread.append(f"{path.name} ({image})")
                continue
            yield Frame(frame_num, float(frame_num), image.shape[1], image.shape[0], image)
            frame_num += 1
        listed = ", ".join(unread) + (", …" if unread_count > len(unread) else "")
        if not frame_num:
            raise DecodeError(
                "no image in it can be read",
                where=self._folder,
                found=listed or "no image",
                remedy="Copy the images again, or take the folder out of the input.",
            )
        if unread_count:
            self.damage = f"{unread_count} of {len(paths)} images could not be read: {listed}"

    def _paths(self) -> list[Path]:
        """Return the images, and what is called like one and cannot be read, so that it is named."""
        left_out: list[str] = []
        try:
            paths = images_of(self._folder, left_out)
        except OSError as error:
            raise DecodeError(
                "cannot be read", where=self._folder, found=error.strerror, remedy="Check its permissions."
            ) from error
        return sorted([*paths, *(self._folder / name for name in left_out)], key=lambda path: natural_key(path.name))


def _read(path: Path) -> Array | str:
    """Return a picture, or why it cannot be had."""
    content = _content(path)
    return content if isinstance(content, str) else decode_image(content)


def _content(path: Path) -> bytes | str:
    try:
        status = path.stat()
        # To open a pipe would wait for its other end.
        if not stat.S_ISREG(status.st_mode):
            return "no regular file"
        if status.st_size > MAX_BYTES:
            return f"{status.st_size:,} bytes are above the limit of {MAX_BYTES:,}"
        return path.read_bytes() or "empty"
    except OSError as error:
        return error.strerror or type(error).__name__


def decode_image(content: bytes) -> Array | str:
    """Return the picture in a file's bytes as :class:`ImageSource` gives it, or why it cannot be had.

    Of formats with a checksum or a strict coding, PNG and WebP, every damage is noticed; of a JPEG only where it was
    cut off or its headers are broken. What is wrong inside its coded data the decoder makes up, and writes a line of
    its own to the standard error output.
    """
    size = image_size(content)
    if size is None:
        # Formats whose size cannot be told beforehand are not decoded at all.
        return "no JPEG, PNG, BMP or WebP picture, or its header is damaged"
    if size[0] * size[1] > MAX_PIXELS:
        return f"{size[0]} × {size[1]} px is above the limit of {MAX_PIXELS:,}"
    is_webp = content[:4] == b"RIFF"
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if is_webp else 0)
    try:
        # From memory, not from the file: there OpenCV gives the upper part of a JPEG that was cut off and says nothing.
        image: Array | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        return str(error.err or error)
    if image is None:
        return "damaged"
    if is_webp:
        image = upright(image, webp_orientation(content))
    image.flags.writeable = False
    return image
