"""Reads a folder of images as a clip, in natural order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ..errors import DecodeError
from ..types import Array, Clip, Frame
from .inputs import images_of

__all__ = ["MOST_PIXELS", "ImageSource"]

MOST_PIXELS = 1 << 28
"""Images with more pixels are refused by their header, before they could fill the memory: 268 million take 0.8 GB."""
_NAMED = 5
"""Unreadable images that are named; the others are counted."""


class ImageSource:
    """The frames of one image folder; a :class:`~facesearch_trt.types.FrameSource`.

    Each readable image is a frame, uint8 [H, W, 3] BGR in its own size, turned upright where its EXIF data says how; grey, 16-bit and
    transparent images are converted. ``frame_num`` counts the readable images and ``pts_s`` is the same number. Images that cannot be read
    are left out and named in ``damage``. Iterating raises DecodeError where none can be read.
    """

    def __init__(self, clip: Clip) -> None:
        if clip.source is None:
            raise DecodeError("its images are not at hand", where=clip.name, remedy="Put the folder beside its results.")
        self.damage: str | None = None
        self._folder: Path = clip.source

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        self.damage = None
        broken: list[str] = []
        frame_num = 0
        for path in images_of(self._folder):
            try:
                image = _read(path)
            except (OSError, ValueError) as error:
                broken.append(f"{path.name} ({error})")
                continue
            yield Frame(frame_num, float(frame_num), image.shape[1], image.shape[0], image)
            frame_num += 1
        if broken:
            more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
            self.damage = f"{len(broken)} images could not be read: {', '.join(broken[:_NAMED])}{more}"
        if not frame_num:
            raise DecodeError("no image can be read", where=self._folder, found=self.damage or "no image")


def _read(path: Path) -> Array:
    """Return an image as uint8 [H, W, 3] BGR. Raises ValueError or OSError that says in a few words why not."""
    content = np.fromfile(path, np.uint8)
    if not content.size:
        raise ValueError("empty file")
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError("too large" if "Pixels" in str(error) or "too large" in str(error) else "not a picture") from None
    except MemoryError:
        raise ValueError("too large") from None
    # What is missing of a JPEG is filled with grey and no word is said of it.
    is_cut_jpeg = content[:2].tobytes() == b"\xff\xd8" and content.tobytes().rfind(b"\xff\xd9") < 0
    if image is None or is_cut_jpeg:
        raise ValueError("not a picture, or cut off")
    if image.shape[0] * image.shape[1] > MOST_PIXELS:
        raise ValueError(f"too large, {image.shape[1]}x{image.shape[0]}")
    image.flags.writeable = False
    return image
