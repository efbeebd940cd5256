"""From a detector's raw outputs to the faces of a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..types import Array, FaceBatch
from .candidates import Candidates, Decoder, keep_best
from .centerface import CenterFaceDecoder
from .close_up import join_looks
from .letterbox import Letterbox
from .network import Tensor
from .quality import frontal_share
from .scrfd import ScrfdDecoder
from .yunet import YuNetDecoder

__all__ = ["DECODERS", "FacesFromOutputs", "Look"]

DECODERS: Mapping[str, Callable[[Mapping[str, Tensor]], Decoder]] = {
    "centerface": CenterFaceDecoder,
    "yunet": YuNetDecoder,
    "scrfd": ScrfdDecoder,
}
"""For each architecture that a catalogue entry may name, what makes its decoder from a network's outputs."""

_PROFILE = 0.25
"""Value of ``frontal`` below which a face counts as a profile, about 60 degrees."""
_PROFILE_WORTH = 1.2
"""Least score * size * sqrt(frontal) of a profile, in units of the smallest face.

Set between what CenterFace sees in two clips, and not tried on others: with a smallest face of 12 px, the profiles on a
stage and in its audience have 17.4 and more (217 faces), and heads filmed from behind, whose glasses or ears pass for a
face with a score of up to .72, have 11.4 at most (46 in 1,394 frames).
"""


class Look(NamedTuple):
    """What a network said of a frame at one size."""

    outputs: Mapping[str, Array]
    """The network's outputs for a batch, by name."""
    row: int
    """Of the frame in that batch."""
    letterbox: Letterbox
    """How the frame lay in the network's input."""


@dataclass(frozen=True, slots=True)
class FacesFromOutputs:
    """Makes the faces of a frame from a detector's outputs, wherever the network ran."""

    decoder: Decoder
    score_threshold: float
    """Least score."""
    nms_iou: float
    """Of two boxes that overlap by more than this the weaker goes."""
    min_face_px: float
    """Least shorter side of a face, before it is clipped to the frame, px. Faces in profile have to be larger."""

    def __call__(self, looks: Sequence[Look], width: int, height: int) -> FaceBatch:
        """Return the faces of a frame of ``width`` by ``height`` px, from left to right.

        From left to right because that order, unlike the order of scores, hardly changes from frame to frame and
        between runtimes. Boxes are clipped to the frame, landmarks are not. All is rounded to what the tables hold: px
        to 0.01, scores to 0.0001.

        Parameters
        ----------
        looks: one, or two for a second look at a smaller size.
        """
        found = self._candidates(looks[0])
        if len(looks) > 1:
            found = join_looks(found, self._candidates(looks[1]), looks[0].letterbox.scale, self.nms_iou)
        if not len(found.scores):
            return FaceBatch.empty()
        found = found.select(keep_best(found.boxes, found.scores, self.nms_iou, edge_px=self.decoder.edge_px))
        boxes = np.clip(found.boxes, np.float32(0), np.array([width, height, width, height], np.float32)).round(2)
        # What rounds to nothing is 0, never -0.
        scores, landmarks = found.scores.round(4), found.landmarks.round(2) + np.float32(0)
        order = np.lexsort((-scores, boxes[:, 1], boxes[:, 0] + boxes[:, 2]))
        # What lies in the padding altogether is nothing once it is clipped.
        seen = (boxes[order, 2:] > boxes[order, :2]).all(axis=1)
        faces = FaceBatch(boxes, scores, landmarks).select(order[seen])
        return faces.select(self._shows_a_face(faces))

    def _shows_a_face(self, faces: FaceBatch) -> Array:
        """Return a mask [N] without the small profiles that detectors see in heads turned away."""
        frontal = frontal_share(faces.landmarks)
        size_px = np.sqrt((faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1))
        worth = faces.scores * size_px * np.sqrt(frontal)
        shows: Array = (frontal >= _PROFILE) | (worth >= _PROFILE_WORTH * self.min_face_px)
        return shows

    def _candidates(self, look: Look) -> Candidates:
        letterbox = look.letterbox
        net_size = (letterbox.net_width, letterbox.net_height)
        # A broken network's numbers may overflow; what is not finite is no face.
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.decoder.decode(look.outputs, look.row, net_size, self.score_threshold)
            if not len(found.scores):
                return found
            boxes, landmarks = letterbox.to_frame(found.boxes), letterbox.to_frame(found.landmarks)
            # A side is infinite or no number where one of its corners is.
            sides = boxes[:, 2:] - boxes[:, :2]
            fits = ((sides >= self.min_face_px) & (sides < np.inf)).all(axis=1) & np.isfinite(landmarks).all(
                axis=(1, 2)
            )
        return Candidates(boxes, found.scores, landmarks).select(fits)
