"""The pictures that int8 ranges are measured on: a user's own frames and faces, as finished clips hold them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ..errors import EngineError
from ..types import Array
from .precision import Calibration

__all__ = ["calibration_from_pictures", "calibration_pictures"]

_CHIP = re.compile(r"(frame_\d+)_face_\d+\.png")


def calibration_pictures(clips: Iterable[Path], kind: Literal["frames", "chips"], limit: int) -> list[Path]:
    """Return frames with faces, or aligned faces, spread evenly over finished clips.

    Parameters
    ----------
    clips: ``.pipeline`` directories whose faces step is done.
    kind: frames for a detector, chips for an embedder.
    limit: most pictures to return.

    Raises EngineError where no clip holds a face, or no frame of a face was kept.
    """
    clips = list(clips)
    chips = [path for clip in clips for path in sorted((clip / "faces").glob("frame_*_face_*.png"))]
    if not chips:
        raise EngineError(
            "no faces to calibrate with",
            where=", ".join(str(clip) for clip in clips[:3]) or None,
            asked="clips whose faces were found and written",
            found=f"{len(clips)} finished clips without a face",
            remedy="Run run_pipeline.py on videos with faces first, and calibrate with that directory.",
        )
    pictures = chips
    if kind == "frames":
        names = dict.fromkeys((chip.parents[1], match[1]) for chip in chips if (match := _CHIP.fullmatch(chip.name)))
        pictures = [path for clip, name in names if (path := clip / f"{name}.png").is_file()]
        if not pictures:
            raise EngineError(
                "no frames to calibrate the detector with",
                asked="clips run with --frames all or --frames faces",
                found=f"{len(chips)} faces, but no frame was kept",
                remedy="Run run_pipeline.py --frames faces --force on them.",
            )
    chosen = np.linspace(0, len(pictures) - 1, min(limit, len(pictures))).round().astype(int)
    return [pictures[index] for index in chosen]


def calibration_from_pictures(pictures: Sequence[Path], planes: Callable[[Array], Array]) -> Calibration:
    """Return the calibration that reads these pictures one by one; none is kept in memory.

    Parameters
    ----------
    planes: makes float32 [1, 3, H, W], as the network takes it, of a picture, uint8 [h, w, 3] BGR.

    Raises EngineError, here or while the data are read, for a picture that cannot be read.
    """
    digest = hashlib.sha256()
    for path in pictures:
        digest.update(_content(path))

    def batches() -> Iterator[Array]:
        for path in pictures:
            image = cv2.imdecode(np.frombuffer(_content(path), np.uint8), cv2.IMREAD_COLOR)
            if image is None:
                raise EngineError("this is no picture", where=path, remedy="Redo its clip with --force.")
            yield planes(image)

    return Calibration(digest.hexdigest(), batches)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EngineError("cannot read a picture to calibrate with", where=path, found=error) from error
