"""What pyservicemaker's operators are given: exactly the properties, iterators and methods of the contract, each valid
only as long as on the real thing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .contract import maker_class
from .memory import Batch, FrameRecord, Surface, Tensors
from .rules import STATE, violation

_HOST_READABLE = (1, 3)  # NVBUF_MEM_CUDA_PINNED, NVBUF_MEM_CUDA_UNIFIED


class Handling:
    """A call of an operator: what was handed in is gone once it has returned."""

    def __init__(self) -> None:
        self.is_open = True


class Lent:
    """An object of the contract that is lent to an operator."""

    NAME = ""

    def __init__(self, handling: Handling, values: dict[str, Any]) -> None:
        object.__setattr__(self, "_handling", handling)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_is_valid", True)

    def __getattr__(self, name: str) -> Any:
        facts = maker_class(self.NAME)
        known = {*facts.get("properties", ()), *facts.get("single_pass_iterators", ()), *facts.get("methods", ())}
        if name not in known:
            violation(f"pyservicemaker.{self.NAME} has no {name}")
            raise AttributeError(f"'{self.NAME}' object has no attribute {name!r}")
        if not self._handling.is_open:
            raise violation(f"{self.NAME}.{name} read after the handler returned")
        if not self._is_valid:
            raise violation(f"{self.NAME}.{name} read after its iterator went on")
        if name not in self._values:
            raise NotImplementedError(f"the double has no {self.NAME}.{name}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise violation(f"{self.NAME}.{name}: our code only reads")


class BatchMetadata(Lent):
    NAME = "BatchMetadata"


class FrameMetadata(Lent):
    NAME = "FrameMetadata"


class TensorOutputUserMetadata(Lent):
    NAME = "TensorOutputUserMetadata"


class Buffer(Lent):
    NAME = "Buffer"


class SinglePass:
    """An iterator that can be walked once and moves one object along: who kept it sees what it was moved to."""

    def __init__(self, what: str, makers: list[Callable[[], Lent]]) -> None:
        self._what = what
        self._makers = makers
        self._is_used = False

    def __iter__(self) -> Iterator[Lent]:
        if self._is_used:
            raise violation(f"{self._what} can be walked once only")
        self._is_used = True
        for make in self._makers:
            one = make()
            yield one
            object.__setattr__(one, "_is_valid", False)


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        # Of DLManagedTensor.
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_new_capsule.restype = ctypes.py_object


class Tensor:
    """Memory of somebody else, to be read through DLPack while the handler runs."""

    def __init__(self, handling: Handling, content: np.ndarray, *, on_device: bool) -> None:
        self._handling = handling
        self._content = content
        strides = [stride // content.itemsize for stride in content.strides]
        self._shape = np.array(content.shape, np.int64)
        self._strides = np.array(strides, np.int64)
        self._managed = _DLTensor(
            data=content.ctypes.data,
            device_type=2 if on_device else 1,
            ndim=content.ndim,
            code={"i": 0, "u": 1, "f": 2}[content.dtype.kind],
            bits=content.itemsize * 8,
            lanes=1,
            shape=self._shape.ctypes.data,
            strides=self._strides.ctypes.data,
        )

    def __getattr__(self, name: str) -> Any:
        violation(f"the contract says nothing of a tensor's {name}")
        raise AttributeError(name)

    def __dlpack__(self) -> Any:
        if not self._handling.is_open:
            raise violation("a tensor was read after the handler returned")
        return _new_capsule(ctypes.addressof(self._managed), b"dltensor", None)


def batch_metadata(handling: Handling, batch: Batch) -> BatchMetadata:
    """Return what a BatchMetadataOperator is given."""
    frames = [lambda frame=frame: _frame(handling, frame) for frame in batch.frames]
    return BatchMetadata(handling, {"frame_items": SinglePass("BatchMetadata.frame_items", frames)})


def _frame(handling: Handling, frame: FrameRecord) -> FrameMetadata:
    # Nothing says in which order the networks' items come.
    items = [lambda one=one: _tensor_output(handling, *one) for one in reversed(frame.tensors)]
    return FrameMetadata(
        handling,
        {
            "frame_number": frame.frame_num,
            "pad_index": frame.pad_index,
            "batch_id": frame.batch_id,
            "source_id": frame.source_id,
            "source_width": frame.source_width,
            "source_height": frame.source_height,
            "buffer_pts": frame.buf_pts,
            "ntp_timestamp": 0,
            "object_items": SinglePass("FrameMetadata.object_items", []),
            "tensor_items": SinglePass("FrameMetadata.tensor_items", items),
        },
    )


class _TensorOutput:
    """What as_tensor_output returns: it has get_layers and nothing else."""

    def __init__(self, layers: dict[str, Tensor]) -> None:
        self._layers = layers

    def __getattr__(self, name: str) -> Any:
        violation(f"the contract says nothing of a tensor output's {name}")
        raise AttributeError(name)

    def get_layers(self) -> dict[str, Tensor]:
        return self._layers


def _tensor_output(handling: Handling, tensors: Tensors, place: int) -> TensorOutputUserMetadata:
    layers = {
        layer.name: Tensor(handling, layer.content[place], on_device=STATE.tensors_on_device)
        for layer in tensors.layers
    }
    return TensorOutputUserMetadata(handling, {"as_tensor_output": lambda: _TensorOutput(layers)})


def buffer_of(handling: Handling, gst_buffer: Any, batch: Batch | None) -> Buffer:
    """Return what a BufferOperator is given."""

    def extract(batch_id: int) -> Tensor:
        if not handling.is_open:
            raise violation("Buffer.extract after the handler returned")
        if batch is None or not 0 <= batch_id < len(batch.surfaces):
            raise violation(f"the buffer has no picture {batch_id}")
        return _picture(handling, batch.surfaces[batch_id])

    # 2 ** 64 - 1 where there is none, as GStreamer has it.
    return Buffer(handling, {"timestamp": gst_buffer.pts, "extract": extract})


def _picture(handling: Handling, surface: Surface) -> Tensor:
    if surface.colour_format != "RGB":
        raise violation(f"a picture of {surface.colour_format} cannot be extracted, only RGB")
    on_device = not STATE.jetson and surface.memory_type not in _HOST_READABLE
    return Tensor(handling, surface.pixels, on_device=on_device)
