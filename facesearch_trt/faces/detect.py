"""From frames to faces: detector, chips and quality, several frames at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from ..errors import OptionError
from ..lookahead import ordered_map
from ..types import Array, DetectorSpec, FaceBatch, Frame
from .align import Aligner
from .decode import DECODERS, FacesFromOutputs, Look
from .letterbox import Letterbox, detector_input_size, letterbox_for
from .network import Network, fill_planes, picture_input
from .quality import face_quality

__all__ = ["Detector", "detect", "with_chips", "with_quality"]


class Detector:
    """A detector network, how to feed it and how to read it; may be used from several threads at once.

    Parameters
    ----------
    engine: the network, one input [B, 3, H, W].
    long_side: longer side of the network's input, px; 0: by the frame's size, see :func:`detector_input_size`.
    close_up_size: longer side of a second, smaller look at the same frame, px; 0 for none.
    score_threshold: least score; None for the detector's own.
    nms_iou: of two boxes that overlap by more than this the weaker goes.
    min_face_px: least shorter side of a face, frame px.

    Raises ModelError where the network is not the one that ``spec`` describes, and OptionError where its input has a
    fixed size and another was asked for.
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
        tensor = picture_input(engine, spec.name)
        decoder = DECODERS[spec.decoder](engine.outputs)
        threshold = spec.score_threshold if score_threshold is None else score_threshold
        self.spec = spec
        self.outputs = tuple(engine.outputs)
        """Names of the network's outputs, in the order in which they are read."""
        self.faces_from_outputs = FacesFromOutputs(decoder, threshold, nms_iou, min_face_px)
        self.max_batch = engine.max_batch if decoder.batched else 1
        self._engine = engine
        self._input = tensor.name
        self._fixed = _fixed_size(tensor.shape, spec, long_side, close_up_size)
        self._long_sides = [long_side, close_up_size] if close_up_size else [long_side]

    def letterboxes(self, width: int, height: int) -> list[Letterbox]:
        """Return how frames of this size are shown to the network, for each look at them."""
        if self._fixed:
            return [letterbox_for(width, height, *self._fixed)]
        sizes = [detector_input_size(width, height, side, self.spec.multiple) for side in self._long_sides]
        return [letterbox_for(width, height, *size) for size in sizes]

    def detect(self, images: Sequence[Array]) -> list[FaceBatch]:
        """Return the faces (boxes, scores, landmarks) of frames of one size, each uint8 [H, W, 3] BGR.

        They make one batch of the network, so there may be at most ``max_batch``. See :class:`FacesFromOutputs`.
        """
        height, width = images[0].shape[:2]
        letterboxes = self.letterboxes(width, height)
        outputs = [self._engine.infer({self._input: self._planes(images, one)}) for one in letterboxes]
        looks = list(zip(outputs, letterboxes, strict=True))
        return [
            self.faces_from_outputs([Look(said, index, letterbox) for said, letterbox in looks], width, height)
            for index in range(len(images))
        ]

    def _planes(self, images: Sequence[Array], letterbox: Letterbox) -> Array:
        planes = np.empty((len(images), 3, letterbox.net_height, letterbox.net_width), np.float32)
        for one, image in zip(planes, images, strict=True):
            fill_planes(one, letterbox.resize(image), self.spec.colour, self.spec.mean, self.spec.std)
        return planes


def detect(
    frames: Iterable[Frame],
    detector: Detector,
    aligner: Aligner,
    executor: Executor,
    *,
    ahead: int,
    ahead_bytes: int,
    batch: int = 1,
) -> Iterator[Frame]:
    """Yield the frames in order with their faces: boxes, scores, landmarks, chips and quality.

    The work is done in the executor's threads. Up to ``batch`` frames of one size that follow each other share a call
    of the network, which gains nothing on a CPU. Up to ``ahead`` frames are in work at once, whose pictures take up to
    ``ahead_bytes``; one batch at least.
    """

    def run(group: list[Frame]) -> list[Frame]:
        images = [_image(frame) for frame in group]
        found = zip(group, images, detector.detect(images), strict=True)
        return [frame.with_faces(with_chips(faces, image, aligner)) for frame, image, faces in found]

    def weight(group: list[Frame]) -> float:
        return max(len(group), ahead * sum(_image(frame).nbytes for frame in group) / ahead_bytes)

    groups = _groups(frames, min(batch, detector.max_batch))
    for group in ordered_map(executor, run, groups, ahead=ahead, weight=weight):
        yield from group


def with_chips(faces: FaceBatch, image: Array, aligner: Aligner) -> FaceBatch:
    """Return faces with their chips, cut from their frame, uint8 [H, W, 3] BGR, and their quality."""
    return with_quality(replace(faces, chips=aligner.chips(image, faces.landmarks)), aligner)


def with_quality(faces: FaceBatch, aligner: Aligner) -> FaceBatch:
    """Return faces with the quality that their chips, which ``aligner`` or its twin on the device cut, show."""
    if faces.chips is None:
        raise ValueError("faces without chips")
    eyes_px = float(np.hypot(*(aligner.points[1] - aligner.points[0])))
    return replace(faces, quality=face_quality(faces.boxes, faces.landmarks, faces.chips, eyes_px))


def _image(frame: Frame) -> Array:
    if frame.image is None:
        raise ValueError(f"frame {frame.frame_num} carries no picture")
    return frame.image


def _groups(frames: Iterable[Frame], batch: int) -> Iterator[list[Frame]]:
    group: list[Frame] = []
    for frame in frames:
        if group and _image(frame).shape != _image(group[0]).shape:
            yield group
            group = []
        group.append(frame)
        if len(group) >= batch:
            yield group
            group = []
    if group:
        yield group


def _fixed_size(
    shape: tuple[int | None, ...], spec: DetectorSpec, long_side: int, close_up_size: int
) -> tuple[int, int] | None:
    """Return the width and height of an input whose size does not vary."""
    height, width = shape[2:]
    if height is None or width is None:
        return None
    if close_up_size or long_side not in (0, max(width, height)):
        raise OptionError(
            "the detector's input has a fixed size",
            where=spec.name,
            asked=f"a long side of {long_side} px, close-ups at {close_up_size} px",
            found=f"{width}x{height} px",
            remedy="Leave both at 0, or use a detector whose input varies.",
        )
    return width, height
