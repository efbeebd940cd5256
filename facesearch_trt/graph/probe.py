"""Reads a DeepStream batch through pyds, inside a pad probe. The only module that imports pyds.

All that is read here is valid only until the probe returns: tensors lie in one of six pooled buffers, surfaces in the
next batch's memory. So what is kept is copied, and nothing of pyds leaves this module.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import cv2
import numpy as np

from ..errors import BackendError, EngineError
from ..types import Array

__all__ = ["NO_PTS", "Download", "MetaReader", "PydsReader", "SeenFrame", "bgr_of", "load_pyds"]

NO_PTS = 2**64 - 1
"""GST_CLOCK_TIME_NONE."""

Download = Callable[[int, int], Array]
"""Copies device memory: given a pointer and a number of bytes, returns uint8 [bytes] on the host."""

_REMEDY = (
    "For DeepStream 6.4 to 8.0 install the wheel of its version from the releases of deepstream_python_apps, for 9.x build"
    " it from there or take pyservicemaker; docs/deepstream.md has the table."
)


class SeenFrame(Protocol):
    """One frame of a batch while its probe runs."""

    @property
    def source_id(self) -> int:
        """The mux's pad, which tells the clips apart."""

    @property
    def pts_ns(self) -> int | None:
        """The buffer's time stamp in its own stream."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at the mux's input, px."""

    def outputs(self) -> Mapping[int, Mapping[str, Array]]:
        """Return copies of the networks' outputs, each [1, ...], by the networks' ids and the layers' names."""

    def canvas(self) -> Array:
        """Return a copy of the mux's picture, uint8 [H, W, 3] BGR."""


class MetaReader(Protocol):
    """Reads batches."""

    def frames(self, buffer: Any) -> Iterator[SeenFrame]:
        """Yield the frames of a batch. Each is valid only until the probe returns."""


def load_pyds() -> Any:
    """Return DeepStream's Python bindings.

    Raises BackendError where they are missing, do not load, or another package has their name: PyPI's ``pyds`` is
    about belief functions.
    """
    try:
        import pyds
    except ImportError as error:
        raise BackendError(
            "DeepStream's Python bindings are not installed", asked="pyds", found=error, remedy=_REMEDY
        ) from error
    if not hasattr(pyds, "gst_buffer_get_nvds_batch_meta"):
        raise BackendError(
            "the installed package pyds is not DeepStream's",
            found=getattr(pyds, "__file__", None),
            remedy=f"PyPI has an unrelated package of that name: pip uninstall pyds. {_REMEDY}",
        )
    return pyds


class PydsReader:
    """Reads batches with pyds; a :class:`MetaReader`.

    Parameters
    ----------
    jetson: surfaces have to be mapped and unmapped, and have no device pointer.
    download: copies device memory; None on a Jetson, where the CPU can read the surfaces.
    """

    def __init__(self, *, jetson: bool, download: Download | None) -> None:
        self._pyds = load_pyds()
        self._jetson = jetson
        self._download = None if jetson else download

    def frames(self, buffer: Any) -> Iterator[SeenFrame]:
        """Yield the frames of a batch."""
        pyds = self._pyds
        # The hash of a PyGObject structure is its address, which is what pyds takes.
        batch_meta = pyds.gst_buffer_get_nvds_batch_meta(hash(buffer))
        node = None if batch_meta is None else batch_meta.frame_meta_list
        while node is not None:
            yield _PydsFrame(pyds, pyds.NvDsFrameMeta.cast(node.data), hash(buffer), self._canvas)
            node = node.next

    def _canvas(self, address: int, batch_id: int) -> Array:
        pyds = self._pyds
        if self._download is not None:
            _, (height, width, channels), (pitch, *_), pointer, _ = pyds.get_nvds_buf_surface_gpu(address, batch_id)
            rows = self._download(pyds.get_ptr(pointer), height * pitch).reshape(height, pitch)
            return bgr_of(rows[:, : width * channels].reshape(height, width, channels))
        surface = pyds.get_nvds_buf_surface(address, batch_id)
        try:
            return bgr_of(surface)
        finally:
            if self._jetson:
                # A surface that stays mapped is leaked.
                pyds.unmap_nvds_buf_surface(address, batch_id)


class _PydsFrame:
    def __init__(self, pyds: Any, frame_meta: Any, address: int, canvas: Callable[[int, int], Array]) -> None:
        self._pyds = pyds
        self._frame_meta = frame_meta
        self._address = address
        self._canvas = canvas
        # The pad and not source_id, which a source may choose for itself.
        self.source_id: int = frame_meta.pad_index
        pts_ns = frame_meta.buf_pts
        self.pts_ns: int | None = None if pts_ns == NO_PTS else pts_ns
        self.size: tuple[int, int] = frame_meta.source_frame_width, frame_meta.source_frame_height

    def outputs(self) -> Mapping[int, Mapping[str, Array]]:
        pyds, found = self._pyds, {}
        node = self._frame_meta.frame_user_meta_list
        while node is not None:
            user_meta = pyds.NvDsUserMeta.cast(node.data)
            if user_meta.base_meta.meta_type == pyds.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META:
                tensor_meta = pyds.NvDsInferTensorMeta.cast(user_meta.user_meta_data)
                found[tensor_meta.unique_id] = self._layers(tensor_meta)
            node = node.next
        return found

    def _layers(self, tensor_meta: Any) -> dict[str, Array]:
        pyds, layers = self._pyds, {}
        kinds = pyds.NvDsInferDataType
        types = {kinds.FLOAT: np.float32, kinds.HALF: np.float16, kinds.INT8: np.int8, kinds.INT32: np.int32}
        for index in range(tensor_meta.num_output_layers):
            # Only this call sets the layer's pointer.
            layer = pyds.get_nvds_LayerInfo(tensor_meta, index)
            dims = layer.inferDims
            shape = [int(size) for size in dims.d[: dims.numDims]]
            if layer.dataType not in types:
                raise EngineError(
                    "the engine has an output of an unknown type", asked=layer.layerName, found=layer.dataType
                )
            kind: np.dtype[Any] = np.dtype(types[layer.dataType])
            count = int(np.prod(shape, dtype=np.int64))
            memory = (ctypes.c_uint8 * (count * kind.itemsize)).from_address(pyds.get_ptr(layer.buffer))
            view = np.frombuffer(bytes(memory), kind).reshape(1, *shape)
            layers[layer.layerName] = view.astype(np.float32) if kind == np.float16 else view
        return layers

    def canvas(self) -> Array:
        return self._canvas(self._address, self._frame_meta.batch_id)


def bgr_of(rgba: Array) -> Array:
    """Return a copy, uint8 [H, W, 3] BGR and read-only, of a picture of R, G, B and maybe A."""
    code = cv2.COLOR_RGBA2BGR if rgba.shape[2] == 4 else cv2.COLOR_RGB2BGR
    picture: Array = cv2.cvtColor(rgba, code)
    picture.flags.writeable = False
    return picture
