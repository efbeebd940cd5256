"""The module ``pyds``: exactly the functions, classes and fields of the contract, each valid only as long as on the
real
thing.
"""

from __future__ import annotations

import ctypes
import inspect
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .contract import contract, pyds_class
from .memory import Batch, FrameRecord, Layer, Surface, Tensors, batch_of
from .rules import STATE, violation

_HOST_READABLE = (1, 3)  # NVBUF_MEM_CUDA_PINNED, NVBUF_MEM_CUDA_UNIFIED


class PyCapsule:
    """An opaque pointer."""

    def __init__(self, target: Any) -> None:
        self._target = target


class Bound:
    """An instance of a bound class: it has the contract's fields and no others."""

    NAME = ""

    def __init__(self, fields: dict[str, Any], tensors: Tensors | None = None) -> None:
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_tensors", tensors)

    def __getattr__(self, name: str) -> Any:
        if name not in pyds_class(self.NAME)["fields"]:
            violation(f"pyds.{self.NAME} has no {name}")
            raise AttributeError(f"'pyds.{self.NAME}' object has no attribute {name!r}")
        if self._tensors is not None and not self._tensors.is_open:
            raise violation(f"pyds.{self.NAME}.{name} read after the probe returned")
        value = self._fields[name]
        return value() if isinstance(value, types.FunctionType) else value

    def __setattr__(self, name: str, value: Any) -> None:
        raise violation(f"pyds.{self.NAME}.{name}: our code only reads")


class GList(Bound):
    """A list node; after the last comes None."""

    NAME = "GList"


def _linked(items: list[Any]) -> GList | None:
    node: GList | None = None
    for item in reversed(items):
        node = GList({"data": PyCapsule(item), "next": node, "prev": None})
    return node


def _bound_class(name: str) -> type[Bound]:
    def cast(data: Any) -> Any:
        target = data._target if isinstance(data, PyCapsule) else None
        if not isinstance(target, Bound) or name != target.NAME:
            raise violation(f"pyds.{name}.cast of something else")
        return target

    body: dict[str, Any] = {"NAME": name}
    methods = pyds_class(name)["methods"]
    if "cast" in methods:
        body["cast"] = staticmethod(cast)
    if name == "NvDsInferTensorMeta":
        body["output_layers_info"] = lambda self, j: _layer(self, j, has_buffer=False)
    return type(name, (Bound,), body)


def _enum(name: str, values: dict[str, int]) -> Any:
    import enum

    return enum.IntEnum(name, values)


def _layer(meta: Any, index: int, *, has_buffer: bool) -> Bound:
    tensors: Tensors = meta._tensors
    place: int = meta._fields["_place"]
    layer: Layer = tensors.layers[index]
    content = layer.content[place]
    types_of = {"float32": 0, "float16": 1, "int8": 2, "int32": 3}
    dims = _dims(content.shape)

    def buffer() -> PyCapsule:
        if not has_buffer:
            raise violation("NvDsInferLayerInfo.buffer is not set before get_nvds_LayerInfo")
        return PyCapsule(content)

    kinds = _MODULE.NvDsInferDataType
    return _MODULE.NvDsInferLayerInfo(
        {
            "dataType": kinds(types_of[str(content.dtype)]),
            "dims": dims,
            "inferDims": dims,
            "bindingIndex": index + 1,
            "layerName": layer.name,
            "buffer": buffer,
            "isInput": 0,
        },
        tensors,
    )


def _dims(shape: tuple[int, ...]) -> Bound:
    padded = np.zeros(contract()["pyds"]["constants"]["NVDSINFER_MAX_DIMS"], np.uint32)
    padded[: len(shape)] = shape
    return _MODULE.NvDsInferDims({"numDims": len(shape), "numElements": int(np.prod(shape)), "d": padded})


def _batch_meta(batch: Batch) -> Bound:
    return _MODULE.NvDsBatchMeta(
        {
            "max_frames_in_batch": batch.max_frames,
            "num_frames_in_batch": len(batch.frames),
            "frame_meta_list": _linked([_frame_meta(frame) for frame in batch.frames]),
            "batch_user_meta_list": None,
        }
    )


def _frame_meta(frame: FrameRecord) -> Bound:
    user = []
    for tensors, place in frame.tensors:
        network = _MODULE.NvDsInferNetworkInfo(
            {"width": tensors.net_width, "height": tensors.net_height, "channels": 3}
        )
        tensor_meta = _MODULE.NvDsInferTensorMeta(
            {
                "network_info": network,
                "unique_id": tensors.unique_id,
                "num_output_layers": len(tensors.layers),
                "gpu_id": 0,
                "_place": place,
            },
            tensors,
        )
        base = _MODULE.NvDsBaseMeta({"meta_type": _MODULE.NvDsMetaType.NVDSINFER_TENSOR_OUTPUT_META})
        user.append(_MODULE.NvDsUserMeta({"base_meta": base, "user_meta_data": PyCapsule(tensor_meta)}, tensors))
    return _MODULE.NvDsFrameMeta(
        {
            "pad_index": frame.pad_index,
            "batch_id": frame.batch_id,
            "frame_num": frame.frame_num,
            "buf_pts": frame.buf_pts,
            "ntp_timestamp": 0,
            "source_id": frame.source_id,
            "num_surfaces_per_frame": 1,
            "source_frame_width": frame.source_width,
            "source_frame_height": frame.source_height,
            "surface_type": 0,
            "surface_index": 0,
            "num_obj_meta": 0,
            # A network of type "other" does not say that it ran.
            "bInferDone": 0,
            "obj_meta_list": None,
            "display_meta_list": None,
            "frame_user_meta_list": _linked(user),
        }
    )


def _surface(gst_buffer: int, batch_id: int) -> Surface:
    batch = batch_of(gst_buffer)
    if batch is None or not 0 <= batch_id < len(batch.surfaces):
        raise violation(f"no surface {batch_id} on buffer {gst_buffer:#x}")
    surface = batch.surfaces[batch_id]
    if surface.colour_format != "RGBA":
        violation(f"surface is {surface.colour_format}, not RGBA")
        raise RuntimeError("get_nvds_buf_surface: Currently we only support RGBA/RGB color Format")
    return surface


def gst_buffer_get_nvds_batch_meta(buffer: int) -> Any:
    batch = batch_of(buffer)
    return None if batch is None else _batch_meta(batch)


def get_nvds_LayerInfo(data: Any, j: int) -> Any:
    return _layer(data, j, has_buffer=True)


def get_ptr(ptr: Any) -> int:
    if not isinstance(ptr, PyCapsule) or not isinstance(ptr._target, np.ndarray):
        raise violation("get_ptr of something that is no pointer to data")
    address: int = ptr._target.ctypes.data
    return address


def get_nvds_buf_surface(gst_buffer: int, batchID: int) -> Any:
    surface = _surface(gst_buffer, batchID)
    if STATE.jetson:
        surface.is_mapped = True
    elif surface.memory_type not in _HOST_READABLE:
        raise violation(f"memory of type {surface.memory_type} cannot be read by the CPU: the process would crash")
    return surface.pixels


def unmap_nvds_buf_surface(gst_buffer: int, batchID: int) -> None:
    _surface(gst_buffer, batchID).is_mapped = False


def get_nvds_buf_surface_gpu(gst_buffer: int, batchID: int) -> Any:
    if STATE.jetson:
        violation("get_nvds_buf_surface_gpu on a Jetson")
        raise RuntimeError("get_nvds_buf_surface_gpu: not supported on Jetson")
    pixels = _surface(gst_buffer, batchID).pixels
    height, width, channels = pixels.shape
    return (
        np.dtype("uint8"),
        (height, width, channels),
        (width * channels, channels, 1),
        PyCapsule(pixels),
        pixels.nbytes,
    )


_IMPLEMENTED = (
    gst_buffer_get_nvds_batch_meta,
    get_nvds_LayerInfo,
    get_ptr,
    get_nvds_buf_surface,
    unmap_nvds_buf_surface,
    get_nvds_buf_surface_gpu,
)


def _checked(function: Callable[..., Any], facts: dict[str, Any]) -> Callable[..., Any]:
    names = [parameter["name"] for parameter in facts["params"]]
    assert list(inspect.signature(function).parameters) == names, (function, names)

    def call(*arguments: Any, **named: Any) -> Any:
        if facts.get("positional_only") and named:
            raise violation(f"pyds.{function.__name__} takes no named arguments")
        bound = inspect.signature(function).bind(*arguments, **named)
        for parameter in facts["params"]:
            if parameter["py"] == "int" and type(bound.arguments[parameter["name"]]) is not int:
                raise violation(f"pyds.{function.__name__}: {parameter['name']} is no int")
        return function(*arguments, **named)

    call.__name__ = function.__name__
    return call


def _missing(name: str) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"the double has no pyds.{name}")

    return call


class Module(types.ModuleType):
    """Says which name was asked for where it has none."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            violation(f"pyds has no {name}")
        raise AttributeError(f"module 'pyds' has no attribute {name!r}")


def _build() -> Any:
    facts = contract()["pyds"]
    module = Module("pyds")
    for name in facts["classes"]:
        setattr(module, name, GList if name == "GList" else _bound_class(name))
    for name, enum in facts["enums"].items():
        made = _enum(name, enum["values"])
        setattr(module, name, made)
        if enum["exported_to_module"]:
            for value in made.__members__.items():
                setattr(module, *value)
    own = {function.__name__: function for function in _IMPLEMENTED}
    for name, function in facts["functions"].items():
        setattr(module, name, _checked(own[name], function) if name in own else _missing(name))
    module.__version__ = facts["version"]  # type: ignore[attr-defined]
    return module


def bytes_at(address: int, count: int) -> np.ndarray:
    """Return host memory as uint8 [count]: what a copy from the device is in the double."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))


_MODULE: Any = _build()
MODULE = _MODULE
