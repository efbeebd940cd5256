"""From aligned chips to embeddings, in full batches gathered across frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import ModelError
from ..lookahead import ordered_map
from ..types import Array, EmbedderSpec, Frame
from .network import Network, fill_planes, picture_input

__all__ = ["HELD_FRAMES", "Embedder", "embed"]

HELD_FRAMES = 256
"""Frames that may wait for a batch to fill. Counted, not timed, so that a clip always makes the same batches."""


class Embedder:
    """An embedder network and how to feed it; may be used from several threads at once.

    Parameters
    ----------
    engine: the network, one input [B, 3, S, S] and one output [B, D].
    batch: faces per call of the network; fewer where the engine takes fewer.

    Raises ModelError where the network is not the one that ``spec`` describes.
    """

    def __init__(self, engine: Network, spec: EmbedderSpec, *, batch: int) -> None:
        tensor = picture_input(engine, spec.name)
        if any(side not in (None, spec.chip_size) for side in tensor.shape[2:]):
            raise ModelError("chips of another size", where=spec.name, asked=spec.chip_size, found=tensor.shape)
        shapes = [output.shape for output in engine.outputs.values()]
        if len(shapes) != 1 or shapes[0][-1] not in (None, spec.dimension):
            raise ModelError(
                "the network is no such embedder",
                where=spec.name,
                asked=f"one output [B, {spec.dimension}]",
                found=shapes,
            )
        self.spec = spec
        self.batch = min(batch, engine.max_batch)
        self._engine = engine
        self._input = tensor.name

    def embed(self, chips: Array) -> Array:
        """Return float32 [N, D], as the network gives them, for chips uint8 [N, S, S, 3] BGR, ``batch`` at a time."""
        parts = [self._run(chips[start : start + self.batch]) for start in range(0, len(chips), self.batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self.spec.dimension), np.float32)

    def _run(self, chips: Array) -> Array:
        spec = self.spec
        planes = np.empty((len(chips), 3, spec.chip_size, spec.chip_size), np.float32)
        for one, chip in zip(planes, chips, strict=True):
            fill_planes(one, chip, spec.colour, spec.mean, spec.std)
        (embeddings,) = self._engine.infer({self._input: planes}).values()
        return embeddings.reshape(len(chips), spec.dimension).astype(np.float32, copy=False)


class _Packet(NamedTuple):
    """A batch of faces, and the frames whose last faces are in it."""

    chips: Array
    frames: list[Frame]


def embed(frames: Iterable[Frame], embedder: Embedder, executor: Executor, *, ahead: int) -> Iterator[Frame]:
    """Yield the frames in order, with the embeddings of their faces, without picture and chips.

    Faces are gathered over frames, in the clip's order, into batches of exactly ``embedder.batch``. Only the clip's
    last batch, and one that did not fill within :data:`HELD_FRAMES` frames, is smaller. So a clip always makes the same
    batches, and the same numbers to the last bit. Faces that come with their embeddings keep them. Up to ``ahead``
    batches are in the executor's hands at once.
    """

    def run(packet: _Packet) -> tuple[Array, list[Frame]]:
        return embedder.embed(packet.chips), packet.frames

    # Rows and frames come in one order, so each frame takes its own from the front.
    rows = np.zeros((0, embedder.spec.dimension), np.float32)
    for embeddings, complete in ordered_map(executor, run, _packets(frames, embedder), ahead=ahead):
        rows = np.concatenate([rows, embeddings])
        for frame in complete:
            if frame.faces.embeddings is not None:
                yield frame
                continue
            count = len(frame.faces)
            yield frame.with_faces(replace(frame.faces, embeddings=rows[:count].copy()))
            rows = rows[count:]


def _packets(frames: Iterable[Frame], embedder: Embedder) -> Iterator[_Packet]:
    batch, size = embedder.batch, embedder.spec.chip_size
    none = np.zeros((0, size, size, 3), np.uint8)
    gathered: list[Array] = []
    count = 0
    waiting: list[Frame] = []
    for frame in frames:
        if len(frame.faces) and frame.faces.embeddings is None:
            if frame.faces.chips is None:
                raise ValueError(f"frame {frame.frame_num} has faces without chips")
            gathered.append(frame.faces.chips)
            count += len(frame.faces)
        waiting.append(replace(frame, image=None, faces=replace(frame.faces, chips=None)))
        while count >= batch:
            chips = np.concatenate(gathered)
            gathered, count = [chips[batch:]], count - batch
            # A batch is cut as soon as it is full, so only the newest frame can have faces left over.
            complete, waiting = (waiting[:-1], waiting[-1:]) if count else (waiting, [])
            yield _Packet(chips[:batch], complete)
        if len(waiting) >= HELD_FRAMES:
            yield _Packet(np.concatenate([none, *gathered]), waiting)
            gathered, count, waiting = [], 0, []
    if waiting:
        yield _Packet(np.concatenate([none, *gathered]), waiting)
