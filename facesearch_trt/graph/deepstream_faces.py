"""Makes frames with faces of what comes out of a DeepStream pipeline, in the consumer's own thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..types import Array, FaceBatch, Frame
from .feed import Raw
from .nvinfer_config import DetectorEngine
from .placement import Look, placement, region_in_mux

__all__ = ["CutFaces", "EnginesFor", "FaceFinder", "ReadFaces", "frame_of"]

EnginesFor = Callable[[int, int], Sequence[DetectorEngine]]
"""Returns, for frames of a width and height, the detector's engines: one, or two for a second look at a smaller size.
"""
ReadFaces = Callable[[Sequence[Look], int, int], FaceBatch]
"""Makes the faces of a frame of a width and height from what the networks said of it."""
CutFaces = Callable[[FaceBatch, Array], FaceBatch]
"""Adds chips and quality, cut from the frame, uint8 [H, W, 3] BGR."""


@dataclass(frozen=True, slots=True)
class FaceFinder:
    """What finds faces inside the graph, and reads and cuts them outside of it."""

    engines_for: EnginesFor
    read_faces: ReadFaces
    cut_faces: CutFaces
    every: int
    """Only every N-th frame gets faces, the others come without."""

    def find(self, frame: Frame, raw: Raw, mux: tuple[int, int], engines: Mapping[int, DetectorEngine]) -> Frame:
        """Return a frame with its faces.

        Parameters
        ----------
        raw: what it was made of.
        mux: width and height of the mux that it came through.
        engines: the networks by the ids under which ``raw`` carries their outputs.
        """
        if frame.frame_num % self.every:
            return frame
        assert frame.image is not None
        looks = [
            # In the order in which the decoder reads them, which an engine need not keep.
            Look(
                {name: raw.outputs[number][name] for name in engine.outputs},
                0,
                placement(raw.size, mux, (engine.width, engine.height)),
            )
            for number, engine in engines.items()
        ]
        return frame.with_faces(self.cut_faces(self.read_faces(looks, *raw.size), frame.image))


def frame_of(raw: Raw, mux: tuple[int, int]) -> Frame:
    """Return a frame in its clip's own size, cut out of the picture of a mux of width and height ``mux``."""
    image = region_in_mux(raw.size, mux).picture(raw.canvas, raw.size)
    image.flags.writeable = False
    return Frame(raw.ticket.frame_num, raw.ticket.pts_s, *raw.size, image)
