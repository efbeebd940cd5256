"""Makes frames with faces of what comes out of a DeepStream pipeline, in the consumer's own thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..types import Array, FaceBatch, Frame
from .feed import Raw
from .nvinfer_config import DetectorEngine
from .placement import Look, placement, region_in_mux

__all__ = ["CutFaces", "EnginesFor", "FacesOfRaw", "ReadFaces"]

EnginesFor = Callable[[int, int], Sequence[DetectorEngine]]
"""Returns, for frames of a width and height, the detector's engines: one, or two for a second look at a smaller size.
"""
ReadFaces = Callable[[Sequence[Look], int, int], FaceBatch]
"""Makes the faces of a frame of a width and height from what the networks said of it."""
CutFaces = Callable[[FaceBatch, Array], FaceBatch]
"""Adds chips and quality, cut from the frame, uint8 [H, W, 3] BGR."""


@dataclass(frozen=True, slots=True)
class FacesOfRaw:
    """Reads and cuts the faces of raw frames."""

    read_faces: ReadFaces
    cut_faces: CutFaces
    every: int
    """Only every N-th frame gets faces, the others come without."""

    def frame_of(self, raw: Raw, mux: tuple[int, int], engines: Mapping[int, DetectorEngine]) -> Frame:
        """Return a frame in its clip's own size, with its faces.

        Parameters
        ----------
        mux: width and height of the mux that it came through.
        engines: the networks by the ids under which the frame carries their outputs.
        """
        ticket = raw.ticket
        image = region_in_mux(raw.size, mux).picture(raw.canvas, raw.size)
        image.flags.writeable = False
        frame = Frame(ticket.frame_num, ticket.pts_s, *raw.size, image)
        if ticket.frame_num % self.every:
            return frame
        looks = [
            # In the order in which the decoder reads them, which an engine need not keep.
            Look(
                {name: raw.outputs[number][name] for name in engine.outputs},
                0,
                placement(raw.size, mux, (engine.width, engine.height)),
            )
            for number, engine in engines.items()
        ]
        return frame.with_faces(self.cut_faces(self.read_faces(looks, *raw.size), image))
