"""From frames to faces: detector, chips and quality, several frames at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from ..errors import ModelError, OptionError
from ..lookahead import ordered_map
from ..types import Array, DetectorSpec, FaceBatch, Frame
from .align import Aligner
from .decode import DECODERS, FacesFromOutputs
from .letterbox import Letterbox, detector_input_size, fitting_letterbox
from .network import Network, fill_planes, only_input
from .quality import face_quality

__all__ = ["Detector", "detect", "with_chips"]


class Detector:
    """A detector network, how to feed it and how to read it; may be used from several threads at once.

    Parameters
    ----------
    engine: the network, one image input [B, 3, H, W].
    long_side: longer side of the network's input, px; 0: by the frame's size, see :func:`detector_input_size`.
    close_up_size: longer side of a second, smaller look at the same frame, px; 0 for none.
    score_threshold: least score; None for the detector's own.
    nms_iou: of two boxes that overlap by more than this the weaker goes.
    min_face_px: least shorter side of a face, frame px.

    Raises ModelError where the network is not the one that ``spec`` describes, OptionError where a network of a fixed input size was
    asked for another.
    """

    def __init__(
        self,
        engine: Network,
        spec: DetectorSpec,
        *,
        long_side: int,
        close_up_size: int,
        score_threshold: float | None,
        nms_iou: float,
        min_face_px: float,
    ) -> None:
        decoder = DECODERS[spec.decoder]()
        decoder.check(engine.outputs)
        self.spec = spec
        self.read = FacesFromOutputs(
            decoder, spec.score_threshold if score_threshold is None else score_threshold, nms_iou, min_face_px
        )
        self.max_batch = engine.max_batch
        self._engine = engine
        self._input = only_input(engine).name
        self._fixed = _fixed_size(engine, spec, long_side, close_up_size)
        self._long_sides = [long_side, close_up_size] if close_up_size else [long_side]

    def letterboxes(self, width: int, height: int) -> list[Letterbox]:
        """Return how frames of this size are shown to the network, once per look."""
        if self._fixed:
            return [fitting_letterbox(width, height, *self._fixed)]
        sizes = [detector_input_size(width, height, side, self.spec.multiple) for side in self._long_sides]
        return [fitting_letterbox(width, height, *size) for size in dict.fromkeys(sizes)]

    def detect(self, images: Sequence[Array]) -> list[FaceBatch]:
        """Return the faces (boxes, scores, landmarks) of each of several frames, uint8 [H, W, 3] BGR, all of one size.

        They are one batch of the network, so there may be at most ``max_batch``.
        """
        height, width = images[0].shape[:2]
        looks = self.letterboxes(width, height)
        outputs = [self._engine.infer({self._input: self._planes(images, look)}) for look in looks]
        return [
            self.read([(output, index, look) for output, look in zip(outputs, looks, strict=True)], width, height)
            for index in range(len(images))
        ]

    def _planes(self, images: Sequence[Array], look: Letterbox) -> Array:
        planes = np.empty((len(images), 3, look.net_height, look.net_width), np.float32)
        for one, image in zip(planes, images, strict=True):
            fill_planes(one, look.resize(image), self.spec.colour, self.spec.mean, self.spec.std)
        return planes


def detect(
    frames: Iterable[Frame], detector: Detector, aligner: Aligner, executor: Executor, ahead: int, batch: int = 1
) -> Iterator[Frame]:
    """Yield the frames in order with their faces: boxes, scores, landmarks, chips and quality.

    The work runs in the executor's threads, up to ``ahead`` batches at once. ``batch`` frames of one size that follow each other share a
    call of the network; on a CPU that gains nothing and 1 is best.
    """

    def run(group: list[Frame]) -> list[Frame]:
        found = detector.detect([_image(frame) for frame in group])
        return [
            frame.with_faces(with_chips(faces, _image(frame), aligner))
            for frame, faces in zip(group, found, strict=True)
        ]

    groups = _groups(frames, min(batch, detector.max_batch))
    for group in ordered_map(executor, run, groups, ahead=ahead):
        yield from group


def with_chips(faces: FaceBatch, image: Array, aligner: Aligner) -> FaceBatch:
    """Return the faces with their chips and quality, cut from their frame, uint8 [H, W, 3] BGR."""
    matrices = aligner.transforms(faces.landmarks)
    chips = aligner.chips(image, faces.landmarks)
    magnification = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    return replace(faces, chips=chips, quality=face_quality(faces.boxes, faces.landmarks, chips, magnification))


def _image(frame: Frame) -> Array:
    if frame.image is None:
        raise ValueError(f"frame {frame.frame_num} carries no picture")
    return frame.image


def _groups(frames: Iterable[Frame], batch: int) -> Iterator[list[Frame]]:
    group: list[Frame] = []
    for frame in frames:
        if group and (len(group) >= batch or _image(group[0]).shape != _image(frame).shape):
            yield group
            group = []
        group.append(frame)
    if group:
        yield group


def _fixed_size(engine: Network, spec: DetectorSpec, long_side: int, close_up_size: int) -> tuple[int, int] | None:
    shape = only_input(engine).shape
    if len(shape) != 4 or shape[1] not in (None, 3):
        raise ModelError("the network takes no pictures", where=spec.name, asked="an input [B, 3, H, W]", found=shape)
    height, width = shape[2:]
    if height is None or width is None:
        return None
    if close_up_size or long_side not in (0, max(width, height)):
        raise OptionError(
            "the detector's input has a fixed size",
            where=spec.name,
            asked=f"long side {long_side}, close-up {close_up_size}",
            found=f"{width}x{height}",
            remedy="Leave both at 0 or take a network of varying size.",
        )
    return width, height
