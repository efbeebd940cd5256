"""The values that travel between rooms.

A :class:`Frame` is the one record of the pipeline. It starts as a decoded picture and gains content on its way: its shot, its
faces, their embeddings, their tracks. Stages are generators from frames to frames, so any of them can be chained, and a frame read
back from the store enters the chain wherever the work is to go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "QUALITY_COLUMNS",
    "Array",
    "Capability",
    "Clip",
    "DetectorSpec",
    "EmbedderSpec",
    "FaceBatch",
    "Frame",
    "FrameSource",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Clip:
    """One input of a run: a video file or a folder of images, and where its results go."""

    name: str
    """The video's stem or the folder's name; unique in a run."""
    source: Path | None
    """Video file or image folder; None when only the results are at hand."""
    kind: Literal["video", "images"]
    output: Path
    """The ``<name>.pipeline`` directory."""


@dataclass(slots=True)
class FaceBatch:
    """The faces of one frame as parallel arrays; row i of each belongs to face i.

    Pixels are those of the original frame, ``left`` is left as seen in the picture.
    """

    boxes: Array
    """float32 [N, 4], x1 y1 x2 y2 in px, rounded to 0.01."""
    scores: Array
    """float32 [N], the detector's confidence, 0 to 1, rounded to 0.0001."""
    landmarks: Array
    """float32 [N, 5, 2], px, rounded to 0.01: left eye, right eye, nose, left and right mouth corner."""
    chips: Array | None = None
    """uint8 [N, S, S, 3] BGR, the aligned faces that the embedder sees; None once written."""
    quality: Array | None = None
    """float32 [N, 4], columns as in :data:`QUALITY_COLUMNS`."""
    embeddings: Array | None = None
    """float32 [N, D] as the network gives them, not normalised."""
    track_ids: Array | None = None
    """int32 [N], unique in the clip."""

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: Array) -> FaceBatch:
        """Return the faces chosen by a boolean mask or an index array, in its order."""
        optional = {
            name: value[keep]
            for name in ("chips", "quality", "embeddings", "track_ids")
            if (value := getattr(self, name)) is not None
        }
        return FaceBatch(self.boxes[keep], self.scores[keep], self.landmarks[keep], **optional)

    @classmethod
    def empty(cls) -> FaceBatch:
        """Return a batch of no faces."""
        zero = np.zeros
        return cls(zero((0, 4), np.float32), zero(0, np.float32), zero((0, 5, 2), np.float32))


QUALITY_COLUMNS = ("size_px", "sharpness", "frontal", "quality")
"""``size_px``: geometric mean of the box's sides. ``sharpness`` and ``frontal``: 0 (useless) to 1. ``quality``: their joint value,
0 to 1, the weight of a face in its person's mean embedding."""


@dataclass(slots=True)
class Frame:
    """One picture of a clip and what is known of it so far."""

    frame_num: int
    """Counts the clip's decoded frames from 0; with ``every=N`` the numbers skip."""
    pts_s: float
    """Presentation time in the container, seconds; for images their index."""
    width: int
    height: int
    image: Array | None = None
    """uint8 [H, W, 3] BGR, read-only; None once written or when not at hand."""
    file: str = ""
    """Name of the written picture inside the clip's directory; empty when not kept."""
    shot: int = 0
    """Number of the shot it belongs to, from 0."""
    faces: FaceBatch = field(default_factory=FaceBatch.empty)

    def with_faces(self, faces: FaceBatch) -> Frame:
        """Return this frame with other faces; the picture is shared, not copied."""
        return replace(self, faces=faces)


class FrameSource(Protocol):
    """Yields the frames of one clip in order; a context manager that frees the decoder."""

    graph: str
    """What decodes: "software", "nvcodec", "deepstream", or "images" for pictures."""
    finds_faces: bool
    """Whether the frames come with their faces; else they are for the detector to find."""
    damage: str | None
    """After the last frame: why the clip ended early or what could not be read; None for a whole clip."""

    def __iter__(self) -> Iterator[Frame]: ...
    def __enter__(self) -> FrameSource: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector that is ready on disk, and what is needed to feed and read it."""

    name: str
    onnx: Path
    decoder: Literal["centerface", "yunet", "scrfd"]
    """Which decoder reads the network's outputs."""
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    """Subtracted from the 0..255 pixel, in the network's own channel order."""
    std: float
    """Divides the result."""
    multiple: int
    """Input height and width must be multiples of it."""
    score_threshold: float


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """An embedder that is ready on disk, and what is needed to feed and read it."""

    name: str
    onnx: Path
    template: Literal["arcface", "dlib"]
    """Which five-point template its chips are aligned to."""
    chip_size: int
    """Side of the square chip, px."""
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: float
    dimension: int


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that this machine can or cannot do."""

    name: str
    ready: bool
    found: str
    """What there is: a version, a size, or what went wrong."""
    remedy: str = ""
    """What to do to have it; empty where there is nothing to do."""
    needed: bool = False
    """Whether the job cannot be done without it."""
