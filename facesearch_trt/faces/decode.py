"""From a detector's raw outputs to the faces of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..types import Array, FaceBatch
from .candidates import Candidates, Decoder, keep_best
from .centerface import CenterFaceDecoder
from .letterbox import Letterbox
from .scrfd import ScrfdDecoder
from .yunet import YuNetDecoder

__all__ = ["DECODERS", "FacesFromOutputs"]

DECODERS: Mapping[str, type[Decoder]] = {
    "centerface": CenterFaceDecoder,
    "yunet": YuNetDecoder,
    "scrfd": ScrfdDecoder,
}
"""Decoder of each architecture that a catalogue entry may name."""


@dataclass(frozen=True, slots=True)
class FacesFromOutputs:
    """Makes the faces of a frame from what a detector said of it at one or several scales, wherever the network ran."""

    decoder: Decoder
    score_threshold: float
    nms_iou: float
    """Of two boxes that overlap by more than this the weaker goes."""
    min_face_px: float
    """Least shorter side, in frame px, of a face before it is clipped to the frame."""

    def __call__(
        self, passes: Sequence[tuple[Mapping[str, Array], int, Letterbox]], width: int, height: int
    ) -> FaceBatch:
        """Return the faces of one frame of ``width`` by ``height`` px, from left to right.

        Parameters
        ----------
        passes: per scale the network's outputs, the frame's index in their batch and how the frame lay in the network's input.

        Boxes are clipped to the frame, landmarks are not. Everything is rounded to what the tables hold: px to 0.01, scores to 0.0001.
        """
        found = Candidates.concatenate([self._in_frame(*one) for one in passes])
        found = found.select(self._usable(found))
        found = found.select(keep_best(found.boxes, found.scores, self.nms_iou, edge_px=self.decoder.box_edge_px))
        limit = np.array([width, height, width, height], np.float32)
        boxes = np.clip(found.boxes, np.float32(0), limit)
        inside = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero()[0]
        faces = FaceBatch(_rounded(boxes, 2), _rounded(found.scores, 4), _rounded(found.landmarks, 2)).select(inside)
        # From left to right: unlike the order of scores it hardly changes from frame to frame or between runtimes.
        return faces.select(np.lexsort((-faces.scores, faces.boxes[:, 1], faces.boxes[:, 0] + faces.boxes[:, 2])))

    def _in_frame(self, outputs: Mapping[str, Array], index: int, letterbox: Letterbox) -> Candidates:
        found = self.decoder.decode(outputs, index, (letterbox.net_width, letterbox.net_height), self.score_threshold)
        return Candidates(letterbox.to_frame(found.boxes), found.scores, letterbox.to_frame(found.landmarks))

    def _usable(self, found: Candidates) -> Array:
        finite = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2))
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        return finite & (sides.min(axis=1) >= self.min_face_px)


def _rounded(values: Array, digits: int) -> Array:
    return values.astype(np.float64).round(digits).astype(np.float32)
