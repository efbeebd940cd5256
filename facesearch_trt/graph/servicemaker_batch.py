"""Reads the batches of one pipeline of pyservicemaker.

An operator is given either a batch's metadata or its buffer, so a batch is read at several places on its way: which
frames it has behind the mux, what a network said of them behind that nvinfer, and the pictures at the end. Nothing lies
between these places that could change the order of batches.

All that is handed in is valid only until the handler returns, a frame or item only until the next one: what is kept is
copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..errors import EngineError
from ..types import Array
from .dlpack import array_of
from .probe import NO_PTS, Download, bgr_of

__all__ = ["BatchReader", "SeenInBatch", "pts_of"]


@dataclass(slots=True)
class SeenInBatch:
    """What is read of a frame before its picture is."""

    batch_id: int
    """Its place in the batch."""
    pts_ns: int | None
    size: tuple[int, int]
    """Width and height at the mux's input, px."""
    outputs: dict[int, dict[str, Array]] = field(default_factory=dict)
    """What the networks said, each [1, ...], by their ids and the layers' names."""


def pts_of(timestamp: int) -> int | None:
    """Return a time stamp, None where it says that there is none."""
    return None if timestamp == NO_PTS else timestamp


class BatchReader:
    """Reads one batch after the other; its methods run in the pipeline's threads, for each batch in this order.

    Parameters
    ----------
    where: the clip, for messages.
    download: copies device memory; None where the CPU can read all.
    """

    def __init__(self, where: object, download: Download | None) -> None:
        self._where = where
        self._download = download
        self._seen: list[SeenInBatch] = []

    def frames(self, batch_meta: Any) -> bool:
        """Note which frames the batch has."""
        self._seen = [
            SeenInBatch(
                frame_meta.batch_id,
                pts_of(frame_meta.buffer_pts),
                (frame_meta.source_width, frame_meta.source_height),
            )
            for frame_meta in batch_meta.frame_items
        ]
        return True

    def outputs(self, number: int, batch_meta: Any) -> bool:
        """Copy what the network ``number`` said of each frame. Raises EngineError where others spoke too."""
        for seen, frame_meta in zip(self._seen, batch_meta.frame_items, strict=True):
            # Items do not say whose they are. Looks differ in size, and with it the shapes of their outputs.
            before = [_shapes(outputs) for outputs in seen.outputs.values()]
            fresh = [outputs for outputs in self._tensors(frame_meta) if _shapes(outputs) not in before]
            if len(fresh) > 1:
                raise EngineError("nvinfer gives more tensors than were asked for", where=self._where, found=len(fresh))
            seen.outputs[number] = fresh[0] if fresh else {}
        return True

    def pictures(self, buffer: Any) -> Iterator[tuple[SeenInBatch, Callable[[], Array]]]:
        """Yield the batch's frames, each with what copies the mux's picture, uint8 [H, W, 3] BGR."""
        seen, self._seen = self._seen, []
        for one in seen:
            # By its place in this batch, not by its pad.
            yield one, partial(self._picture, buffer, one.batch_id)

    def _picture(self, buffer: Any, batch_id: int) -> Array:
        return bgr_of(array_of(buffer.extract(batch_id), self._download))

    def _tensors(self, frame_meta: Any) -> Iterator[dict[str, Array]]:
        for user_meta in frame_meta.tensor_items:
            layers = user_meta.as_tensor_output().get_layers()
            arrays = {name: array_of(tensor, self._download)[None] for name, tensor in layers.items()}
            yield {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def _shapes(outputs: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in outputs.items()}
