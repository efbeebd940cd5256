"""From aligned chips to embeddings, in full batches gathered across frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import ModelError
from ..types import Array, EmbedderSpec, Frame
from .network import Network, fill_planes, only_input

__all__ = ["HELD_FRAMES", "Embedder", "embed"]

HELD_FRAMES = 256
"""Frames that may wait for a batch to fill. Counted in frames, not in time, so that the same clip always makes the same batches."""


class Embedder:
    """An embedder network and how to feed it; may be used from several threads at once.

    Parameters
    ----------
    engine: the network, one image input [B, 3, S, S] and one output [B, D].
    batch: faces per call of the network, at most what the engine takes.

    Raises ModelError where the network is not the one that ``spec`` describes.
    """

    def __init__(self, engine: Network, spec: EmbedderSpec, *, batch: int) -> None:
        shapes = [tensor.shape for tensor in engine.outputs.values()]
        if len(shapes) != 1 or shapes[0][-1] not in (None, spec.dimension):
            raise ModelError("the network is no such embedder", where=spec.name, asked=f"one output of {spec.dimension}", found=shapes)
        shape = only_input(engine).shape
        if any(size not in (None, spec.chip_size) for size in shape[2:]):
            raise ModelError("the network takes chips of another size", where=spec.name, asked=spec.chip_size, found=shape)
        self.spec = spec
        self.batch = min(batch, engine.max_batch)
        self._engine = engine
        self._input = only_input(engine).name

    def embed(self, chips: Array) -> Array:
        """Return float32 [N, D] as the network gives them, for chips uint8 [N, S, S, 3] BGR, in batches of ``batch``."""
        parts = [self._run(chips[start : start + self.batch]) for start in range(0, len(chips), self.batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self.spec.dimension), np.float32)

    def _run(self, chips: Array) -> Array:
        spec = self.spec
        planes = np.empty((len(chips), 3, spec.chip_size, spec.chip_size), np.float32)
        for one, chip in zip(planes, chips, strict=True):
            fill_planes(one, chip, spec.colour, spec.mean, spec.std)
        (embeddings,) = self._engine.infer({self._input: planes}).values()
        return embeddings.reshape(len(chips), spec.dimension).astype(np.float32, copy=False)


@dataclass(slots=True)
class _Held:
    """A frame that waits for the embeddings of its faces."""

    frame: Frame
    parts: list[tuple[Future[Array], int, int]] = field(default_factory=list)
    """Batch, and which of its rows, in the order of the faces."""

    def finished(self) -> Frame:
        embeddings = [future.result()[start:stop] for future, start, stop in self.parts]
        if not embeddings:
            return self.frame
        faces = replace(self.frame.faces, embeddings=np.concatenate(embeddings), chips=None)
        return self.frame.with_faces(faces)


def embed(frames: Iterable[Frame], embedder: Embedder, executor: Executor, ahead: int) -> Iterator[Frame]:
    """Yield the frames in order with the embeddings of their faces and without picture and chips.

    Faces are gathered over frames, in the clip's order, into batches of exactly ``embedder.batch``; only the clip's last batch, and one
    that did not fill within :data:`HELD_FRAMES` frames, is smaller. So the same clip always gives the same batches, and the same
    numbers to the last bit. At most ``ahead`` batches are in the executor at once.
    """
    held: deque[_Held] = deque()
    running: deque[Future[Array]] = deque()
    gathered: list[tuple[_Held, Array]] = []
    waited = 0

    def submit() -> None:
        nonlocal gathered, waited
        batch = _cut(gathered, embedder.batch)
        chips = np.concatenate([part for _, part in batch])
        while len(running) >= ahead:
            running.popleft().exception()
        future = executor.submit(embedder.embed, chips)
        running.append(future)
        start = 0
        for one, part in batch:
            one.parts.append((future, start, start + len(part)))
            start += len(part)
        waited = 0

    try:
        for frame in frames:
            one = _Held(replace(frame, image=None))
            held.append(one)
            ...
        yield from ()
    finally:
        for future in running:
            future.cancel()
