"""The CUDA kernels of the device stages and their launch.

What they compute is in ``cuda/kernels.cu`` and ``cuda/geometry.h``. They are compiled once per GPU kind with nvcc and
kept as a cubin in the directory of engines. A machine without nvcc takes a file that was made elsewhere with
``nvcc --fatbin -fmad=false`` for its architecture, under the name that the error message tells.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import EngineError
from .device import CudaDevice, CudaStream
from .device_memory import DeviceArray
from .files import write_atomic

__all__ = [
    "FACE_DTYPE",
    "HEAD_DTYPE",
    "LOOK_DTYPE",
    "Kernels",
    "Pixels",
    "kernel_source",
    "kernels_ready",
    "load_kernels",
]

_log = logging.getLogger(__name__)
_SOURCES = Path(__file__).with_name("cuda")
# Fused multiply-adds would round differently from the CPU.
_OPTIONS = ["-fmad=false"]
_TILE = (32, 8, 1)

LOOK_DTYPE = np.dtype(
    [("step", "f8"), ("shown_width", "i4"), ("shown_height", "i4"), ("frame", "i4"), ("unused", "i4")]
)
"""fs_look of geometry.h."""
FACE_DTYPE = np.dtype([("inverse", "f8", 6), ("frame", "i4"), ("unused", "i4")])
"""fs_face of geometry.h."""
HEAD_DTYPE = np.dtype([("data", "u8"), ("channels", "i4"), ("channels_last", "i4")])
"""fs_head of kernels.cu."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a network wants its pixels; see :class:`facesearch_trt.types.DetectorSpec`."""

    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: float

    def arguments(self) -> tuple[np.int32, np.float32, np.float32, np.float32, np.float32]:
        """Return the kernels' arguments for it."""
        mean = (np.float32(value) for value in self.mean)
        return np.int32(self.colour == "rgb"), *mean, np.float32(1.0 / self.std)  # type: ignore[return-value]


class Kernels:
    """The compiled kernels. Launches go into a stream and return at once; all want an active device."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._letterbox, self._warp, self._select = (
            module.get_function(name) for name in ("letterbox", "warp_faces", "select_cells")
        )

    def letterbox(
        self, stream: CudaStream, frames: DeviceArray, looks: DeviceArray, planes: DeviceArray, pixels: Pixels
    ) -> None:
        """Fill a detector's input, float32 [B, 3, H, W], with B looks at pictures.

        Parameters
        ----------
        frames: FRAME_DTYPE [N].
        looks: LOOK_DTYPE [B].
        """
        batch, _, height, width = planes.shape
        self._launch(
            self._letterbox,
            stream,
            (width, height, batch),
            _TILE,
            _pointer(frames),
            _pointer(looks),
            _pointer(planes),
            np.int32(width),
            np.int32(height),
            *pixels.arguments(),
        )

    def warp(
        self,
        stream: CudaStream,
        frames: DeviceArray,
        faces: DeviceArray,
        *,
        chips: DeviceArray,
        planes: DeviceArray,
        pixels: Pixels,
    ) -> None:
        """Cut N faces into chips, uint8 [N, S, S, 3], and the embedder's input, float32 [N, 3, S, S].

        Parameters
        ----------
        frames: FRAME_DTYPE [M].
        faces: FACE_DTYPE [N].
        """
        count, _, size, _ = planes.shape
        self._launch(
            self._warp,
            stream,
            (size, size, count),
            _TILE,
            _pointer(frames),
            _pointer(faces),
            _pointer(chips),
            _pointer(planes),
            np.int32(size),
            *pixels.arguments(),
        )

    def select(
        self,
        stream: CudaStream,
        heads: DeviceArray,
        *,
        scores: int,
        cells: int,
        batch: int,
        threshold: float,
        count: DeviceArray,
        where: DeviceArray,
        rows: DeviceArray,
    ) -> None:
        """Gather the cells that may hold faces; see select_cells in kernels.cu.

        Parameters
        ----------
        heads: HEAD_DTYPE [K].
        scores: how many of them are probabilities, the first ones.
        count: int32 [1], zeroed before.
        where: int32 [capacity, 2].
        rows: float32 [capacity, sum of the heads' channels].
        """
        self._launch(
            self._select,
            stream,
            (cells, batch, 1),
            (256, 1, 1),
            _pointer(heads),
            np.int32(heads.shape[0]),
            np.int32(scores),
            np.int32(cells),
            np.float32(threshold),
            np.int32(where.shape[0]),
            np.int32(rows.shape[1]),
            _pointer(count),
            _pointer(where),
            _pointer(rows),
        )

    def _launch(
        self,
        function: Any,
        stream: CudaStream,
        size: tuple[int, int, int],
        block: tuple[int, int, int],
        *arguments: Any,
    ) -> None:
        grid = tuple(-(-length // tile) for length, tile in zip(size, block, strict=True))
        function(*arguments, block=block, grid=grid, stream=stream.native)


def kernel_source() -> str:
    """Return the CUDA source as one text, the header in its place."""
    header = (_SOURCES / "geometry.h").read_text(encoding="utf-8")
    source = (_SOURCES / "kernels.cu").read_text(encoding="utf-8")
    return source.replace('#include "geometry.h"', header, 1)


def kernels_ready(directory: Path, compute_capability: str) -> Path | None:
    """Return the file of compiled kernels that is taken for a GPU of a compute capability ("9.0"); None where there is none.

    Parameters
    ----------
    directory: of the engines.
    """
    return next((path for path in _places(directory, compute_capability) if path.is_file()), None)


def _places(directory: Path, compute_capability: str) -> tuple[Path, Path]:
    """Return where the kernels of one kind of GPU, and where those for several, are kept."""
    stem = f"kernels-{hashlib.sha256(kernel_source().encode()).hexdigest()[:12]}"
    return directory / f"{stem}-sm{compute_capability.replace('.', '')}.cubin", directory / f"{stem}.fatbin"


def load_kernels(device: CudaDevice, directory: Path) -> Kernels:
    """Return the kernels for the device, compiled on first use; call inside an active device.

    Parameters
    ----------
    directory: of the engines, where the compiled kernels are kept.

    Raises EngineError where they are not there and cannot be compiled, or the driver refuses them.
    """
    path = kernels_ready(directory, device.compute_capability)
    if path is not None:
        return Kernels(device.load(path.read_bytes()))
    own, shared = _places(directory, device.compute_capability)
    try:
        code = device.compile(kernel_source(), _OPTIONS)
    except EngineError as error:
        raise EngineError(
            error.what,
            asked=error.asked,
            found=error.found,
            remedy=f"{error.remedy} A file compiled elsewhere goes to {shared}.",
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(own, code)
    _log.info("compiled the CUDA kernels: %s", own)
    return Kernels(device.load(code))


def _pointer(array: DeviceArray) -> np.uint64:
    return np.uint64(array.pointer)
