"""From frames in device memory to faces, chips and embeddings, without a pixel of a frame visiting the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..types import Array, FaceBatch
from .device_frames import DeviceFrame, frame_table
from .device_memory import DeviceArray
from .execution import ExecutionSlot
from .heads import HeadGroup, cells_of, channels_of, dense_outputs
from .kernels import FACE_DTYPE, HEAD_DTYPE, LOOK_DTYPE, Kernels, Pixels
from .tensorrt import TensorRTEngine

__all__ = ["DeviceFaces", "LetterboxLike", "inverse_transforms"]

_CAPACITY = 4096
"""Cells per picture and group that are gathered; where more pass, whole heads are copied instead."""
_FIRST = 64
"""Cells per picture that come back with their number; where there are more, the rest comes in a second copy."""


class LetterboxLike(Protocol):
    """How a frame lies in the detector's input: scaled, at the top left."""

    @property
    def scale(self) -> float:
        """Network px per frame px."""
        ...

    @property
    def net_width(self) -> int:
        """Of the network's input, px."""
        ...

    @property
    def net_height(self) -> int:
        """Of the network's input, px."""
        ...


L = TypeVar("L", bound=LetterboxLike)


@dataclass(frozen=True)
class DeviceFaces(Generic[L]):
    """Finds, cuts out and embeds the faces of frames in device memory. May be used from several threads at once.

    Only tables, chips and embeddings come back to the host: a kernel gathers the cells of the detector's heads that
    may hold a face, and the decoder of the CPU's way reads them from arrays that are zero elsewhere, so that both ways
    find the same faces.
    """

    detector: TensorRTEngine
    embedder: TensorRTEngine
    kernels: Kernels
    letterboxes: Callable[[int, int], Sequence[L]]
    """Gives how a frame of given width and height lies in the detector's input, for each look at it."""
    read: Callable[[Sequence[tuple[Mapping[str, Array], int, L]], int, int], FaceBatch]
    """Makes the faces of a frame of given width and height from its looks: outputs, row in their batch, letterbox."""
    transforms: Callable[[Array], Array]
    """Gives [N, 2, 3], from frame px to chip px, for landmarks [N, 5, 2]."""
    groups: list[HeadGroup]
    """Of the detector's outputs."""
    score_threshold: float
    """The least score that ``read`` keeps."""
    detector_pixels: Pixels
    embedder_pixels: Pixels
    chip_size: int
    """px"""

    def __call__(self, frames: Sequence[DeviceFrame]) -> list[FaceBatch]:
        """Return the faces of each frame with chips and embeddings. The frames must be complete in memory."""
        found = self._detect(frames)
        counts = [len(faces) for faces in found]
        owners = np.repeat(np.arange(len(frames)), counts)
        landmarks = np.concatenate([faces.landmarks for faces in found]) if found else np.zeros((0, 5, 2), np.float32)
        chips, embeddings = self._embed(frames, owners, landmarks)
        ends = np.cumsum(counts)
        return [
            replace(faces, chips=chips[end - len(faces) : end], embeddings=embeddings[end - len(faces) : end])
            for faces, end in zip(found, ends, strict=True)
        ]

    def _detect(self, frames: Sequence[DeviceFrame]) -> list[FaceBatch]:
        letterboxes = [self.letterboxes(frame.width, frame.height) for frame in frames]
        # Frames of several clips and sizes share a call where the network's input has one size.
        by_size: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for index, looks in enumerate(letterboxes):
            for number, look in enumerate(looks):
                by_size.setdefault((look.net_width, look.net_height), []).append((index, number))
        outputs: dict[tuple[int, int], Mapping[str, Array]] = {}
        for size, jobs in by_size.items():
            for start in range(0, len(jobs), self.detector.max_batch):
                part = jobs[start : start + self.detector.max_batch]
                placed = [(frames[index], letterboxes[index][number]) for index, number in part]
                outputs.update(zip(part, self._heads(placed, size), strict=True))
        return [
            self.read(
                [(outputs[index, number], 0, look) for number, look in enumerate(looks)], frame.width, frame.height
            )
            for index, (frame, looks) in enumerate(zip(frames, letterboxes, strict=True))
        ]

    def _heads(self, placed: list[tuple[DeviceFrame, L]], size: tuple[int, int]) -> list[dict[str, Array]]:
        (name,) = self.detector.inputs
        width, height = size
        with self.detector.slot() as slot:
            slot.prepare({name: (len(placed), 3, height, width)})
            looks = np.zeros(len(placed), LOOK_DTYPE)
            for index, (frame, letterbox) in enumerate(placed):
                shown = (
                    min(max(1, round(side * letterbox.scale)), most)
                    for side, most in zip(frame.size, size, strict=True)
                )
                looks[index] = (1 / letterbox.scale, *shown, index, 0)
            self.kernels.letterbox(
                slot.stream,
                _upload(slot, "frames", frame_table([frame for frame, _ in placed])),
                _upload(slot, "looks", looks),
                slot.array(name),
                self.detector_pixels,
            )
            slot.run()
            gathered = {group: self._gather(slot, group, len(placed)) for group in self.groups}
            slot.stream.synchronize()
            return self._outputs(slot, gathered, len(placed))

    def _gather(self, slot: ExecutionSlot, group: HeadGroup, batch: int) -> _Gathered:
        shapes = slot.shapes
        channels = channels_of(group, shapes)
        key = group.names[0]
        heads = np.zeros(len(channels), HEAD_DTYPE)
        heads["data"] = [slot.array(name).pointer for name in group.names]
        heads["channels"] = channels
        heads["channels_last"] = group.channels_last
        capacity = _CAPACITY * batch
        count = slot.staging(f"count {key}", (1,), "int32")
        where = slot.staging(f"where {key}", (capacity, 2), "int32")
        rows = slot.staging(f"rows {key}", (capacity, sum(channels)), "float32")
        slot.stream.fill_zero(count[0].pointer, count[0].nbytes)
        self.kernels.select(
            slot.stream,
            _upload(slot, f"heads {key}", heads),
            scores=len(group.scores),
            cells=cells_of(group, shapes),
            batch=batch,
            threshold=group.least_product(self.score_threshold),
            count=count[0],
            where=where[0],
            rows=rows[0],
        )
        first = _FIRST * batch
        slot.stream.download(count[1], count[0].pointer)
        slot.stream.download(where[1][:first], where[0].pointer)
        slot.stream.download(rows[1][:first], rows[0].pointer)
        return _Gathered(count[1], where, rows, first)

    def _outputs(
        self, slot: ExecutionSlot, gathered: Mapping[HeadGroup, _Gathered], batch: int
    ) -> list[dict[str, Array]]:
        if self.score_threshold <= 0 or any(one.overflown for one in gathered.values()):
            outputs = slot.fetch(list(self.detector.outputs))
            return [{name: array[index : index + 1] for name, array in outputs.items()} for index in range(batch)]
        late = [one for one in gathered.values() if one.fetch_rest(slot)]
        if late:
            slot.stream.synchronize()
        order = list(self.detector.outputs)
        shapes = {name: slot.shapes[name] for name in order}
        return [
            dense_outputs(shapes, {group: one.of(index) for group, one in gathered.items()}) for index in range(batch)
        ]

    def _embed(self, frames: Sequence[DeviceFrame], owners: Array, landmarks: Array) -> tuple[Array, Array]:
        size, count = self.chip_size, len(landmarks)
        (name,), (output,) = self.embedder.inputs, self.embedder.outputs
        chips = np.empty((count, size, size, 3), np.uint8)
        parts: list[Array] = []
        faces = np.zeros(count, FACE_DTYPE)
        faces["frame"] = owners
        faces["inverse"] = inverse_transforms(self.transforms(landmarks)).reshape(count, 6)
        for start in range(0, count, self.embedder.max_batch):
            part = faces[start : start + self.embedder.max_batch]
            with self.embedder.slot() as slot:
                slot.prepare({name: (len(part), 3, size, size)})
                on_device, on_host = slot.staging("chips", (len(part), size, size, 3), "uint8")
                self.kernels.warp(
                    slot.stream,
                    _upload(slot, "frames", frame_table(list(frames))),
                    _upload(slot, "faces", part),
                    chips=on_device,
                    planes=slot.array(name),
                    pixels=self.embedder_pixels,
                )
                slot.run()
                slot.stream.download(on_host, on_device.pointer)
                parts.append(slot.fetch([output])[output].reshape(len(part), -1))
                chips[start : start + len(part)] = on_host
        width = self.embedder.outputs[output].shape[-1] or 0
        return chips, np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


@dataclass(frozen=True)
class _Gathered:
    """What a kernel gathers of one group of outputs."""

    count: Array
    where: tuple[DeviceArray, Array]
    rows: tuple[DeviceArray, Array]
    here: int
    """How many rows are on their way to the host."""

    @property
    def total(self) -> int:
        return int(self.count[0])

    @property
    def overflown(self) -> bool:
        return self.total > len(self.where[1])

    def fetch_rest(self, slot: ExecutionSlot) -> bool:
        if self.total <= self.here:
            return False
        for device, host in (self.where, self.rows):
            slot.stream.download(host[: self.total], device.pointer)
        return True

    def of(self, picture: int) -> tuple[Array, Array]:
        where = self.where[1][: self.total]
        mine = where[:, 0] == picture
        return where[mine, 1], self.rows[1][: self.total][mine]


def _upload(slot: ExecutionSlot, what: str, table: Array) -> DeviceArray:
    device, host = slot.staging(what, (table.nbytes,), "uint8")
    host[...] = np.frombuffer(table.tobytes(), np.uint8)
    slot.stream.upload(device.pointer, host)
    return DeviceArray(device.pointer, table.shape, "uint8")


def inverse_transforms(matrices: Array) -> Array:
    """Return the inverses of [N, 2, 3] with the steps of cv2.invertAffineTransform."""
    a, b, x = matrices[:, 0].T
    c, d, y = matrices[:, 1].T
    determinant = a * d - b * c
    factor = np.where(determinant != 0, 1 / np.where(determinant != 0, determinant, 1), 0)
    a, d, b, c = d * factor, a * factor, -b * factor, -c * factor
    return np.stack([np.stack([a, b, -a * x - b * y], axis=1), np.stack([c, d, -c * x - d * y], axis=1)], axis=1)
