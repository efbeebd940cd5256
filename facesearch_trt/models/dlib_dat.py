"""Reads dlib's own serialisation of a network (``.dat``) into plain records.

The format is the one written by dlib's ``serialize`` functions (dlib/dnn/core.h, layers.h, tensor.h): the versions of
all nested layers come first, then the input layer, then one record per computational layer from the input to the
output. The bytes are foreign: every size is checked against what is left in the file before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ModelError

__all__ = ["DatNetwork", "Layer", "read_dat"]

Floats = npt.NDArray[np.float32]

_MAX_LAYERS = 10_000
_MAX_STRING = 64


@dataclass(frozen=True, slots=True)
class Layer:
    """One computational layer as it stands in the file."""

    kind: str
    """``con``, ``affine``, ``relu``, ``max_pool``, ``avg_pool``, ``add_prev`` or ``fc``."""
    settings: tuple[int, ...] = ()
    """con: filters, rows, columns, stride y, x, padding y, x. Pools: rows, columns, stride y, x, padding y, x (rows
    0: the whole plane). fc: outputs, inputs, bias mode (1: none). Others: none."""
    arrays: tuple[Floats, ...] = ()
    """con: filters [F, C, rows, columns], bias [F]. affine: gamma [C], beta [C]. fc: weights [inputs, outputs]."""


@dataclass(frozen=True, slots=True)
class DatNetwork:
    """A network read from a ``.dat`` file."""

    mean: tuple[float, float, float]
    """Subtracted from the 0..255 RGB pixel; dlib then divides by 256 (input_rgb_image_sized in dlib/dnn/input.h)."""
    rows: int
    columns: int
    layers: tuple[Layer, ...]
    """From the input to the output."""


class _Damaged(Exception):
    """Says what is wrong at the reader's position."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.position

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise _Damaged(f"{size} bytes wanted, {self.left} left")
        start, self.position = self.position, self.position + size
        return self._data[start : self.position]

    def integer(self) -> int:
        """A control byte (low nibble: number of bytes, 0x80: sign), then little-endian bytes (dlib/serialize.h)."""
        control = self.take(1)[0]
        size = control & 0x0F
        if not 1 <= size <= 8 or control & 0x70:
            raise _Damaged(f"no integer starts with 0x{control:02x}")
        value = int.from_bytes(self.take(size), "little")
        return -value if control & 0x80 else value

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def real(self) -> float:
        """Mantissa and binary exponent; exponents of 32000 and more mean infinity or NaN (dlib/float_details.h)."""
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 2000:
            raise _Damaged(f"a number is not finite (exponent {exponent})")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            raise _Damaged("a number is too large") from None

    def reals(self, count: int) -> tuple[float, ...]:
        return tuple(self.real() for _ in range(count))

    def text(self) -> str:
        size = self.integer()
        if not 0 < size <= _MAX_STRING:
            raise _Damaged(f"a name of {size} bytes")
        return self.take(size).decode("ascii", errors="replace")

    def tensor(self) -> Floats:
        """dlib/dnn/tensor.h: version 2, four sizes, raw little-endian float32."""
        if (version := self.integer()) != 2:
            raise _Damaged(f"tensor version {version}, known is 2")
        count = 1
        for size in self.integers(4):
            if size < 0 or size * count * 4 > self.left:
                raise _Damaged(f"a tensor larger than the {self.left} bytes that are left")
            count *= size
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def alias(self) -> tuple[int, ...]:
        """An alias tensor holds its version and four sizes, no data."""
        version, *sizes = self.integers(5)
        if version != 1:
            raise _Damaged(f"alias tensor version {version}, known is 1")
        if any(size < 0 for size in sizes):
            raise _Damaged("a negative size")
        return tuple(sizes)


def _split(params: Floats, *shapes: tuple[int, ...]) -> tuple[Floats, ...]:
    """Cut a layer's one parameter vector into arrays of the given shapes; it must hold exactly those."""
    counts = [int(np.prod(shape, dtype=object)) for shape in shapes]
    if sum(counts) != params.size:
        raise _Damaged(f"{params.size} parameters for shapes {shapes}")
    if not np.isfinite(params).all():
        raise _Damaged("parameters that are not finite")
    ends = np.cumsum(counts)
    return tuple(
        params[end - count : end].reshape(shape) for end, count, shape in zip(ends, counts, shapes, strict=True)
    )


def _con(reader: _Reader) -> Layer:
    params, settings = reader.tensor(), reader.integers(7)
    filters, biases = reader.alias(), reader.alias()
    reader.reals(4)  # learning rates and weight decays
    return Layer("con", settings, _split(params, filters, (biases[1],)))


def _affine(reader: _Reader) -> Layer:
    params, gamma, beta = reader.tensor(), reader.alias(), reader.alias()
    if (mode := reader.integer()) != 0:
        raise _Damaged(f"affine mode {mode}, known is 0 (after a convolution)")
    return Layer("affine", (), _split(params, (gamma[1],), (beta[1],)))


def _fc(reader: _Reader) -> Layer:
    outputs, inputs = reader.integers(2)
    params, weights, _ = reader.tensor(), reader.alias(), reader.alias()
    bias_mode = reader.integer()
    reader.reals(4)
    return Layer("fc", (outputs, inputs, bias_mode), _split(params, weights[:2]))


def _plain(kind: str, settings: int = 0) -> Callable[[_Reader], Layer]:
    return lambda reader: Layer(kind, reader.integers(settings))


_LAYERS: dict[str, Callable[[_Reader], Layer]] = {
    "con_4": _con,
    "affine_": _affine,
    "relu_": _plain("relu"),
    "max_pool_2": _plain("max_pool", 6),
    "avg_pool_2": _plain("avg_pool", 6),
    "add_prev_": _plain("add_prev"),
    "fc_2": _fc,
}


def _layer(reader: _Reader) -> Layer:
    tag = reader.text()
    if tag not in _LAYERS:
        raise _Damaged(f"unknown layer {tag!r}")
    layer = _LAYERS[tag](reader)
    if set(flags := reader.take(3)) - set(b"01"):
        raise _Damaged(f"layer flags {flags!r}")
    for _ in range(3):  # gradients and cached output: empty in a file made for use
        reader.tensor()
    return layer


def _network(reader: _Reader) -> DatNetwork:
    if (version := reader.integer()) != 1:
        raise _Damaged(f"network version {version}, known is 1")
    if (loss := reader.text()) != "loss_metric_2":
        raise _Damaged(f"loss layer {loss!r}, known is 'loss_metric_2'")
    reader.reals(2)
    for _ in range(_MAX_LAYERS):
        start = reader.position
        if reader.integer() > 3:  # no version is that high: this was the length of the input layer's name
            reader.position = start
            break
    if (tag := reader.text()) != "input_rgb_image_sized":
        raise _Damaged(f"input layer {tag!r}, known is 'input_rgb_image_sized'")
    red, green, blue = reader.reals(3)
    rows, columns = reader.integers(2)
    layers = [_layer(reader)]
    reader.integer()  # the layer above the input has its sample expansion factor
    while reader.left:
        layers.append(_layer(reader))
        if len(layers) > _MAX_LAYERS:
            raise _Damaged(f"more than {_MAX_LAYERS} layers")
    return DatNetwork((red, green, blue), rows, columns, tuple(layers))


def read_dat(path: Path) -> DatNetwork:
    """Read a dlib metric-learning network.

    Raises ModelError when the file cannot be read, is truncated or damaged, or holds a layer that is not known here.
    """
    try:
        reader = _Reader(path.read_bytes())
    except OSError as error:
        raise ModelError("cannot read the weights", where=path, found=error.strerror) from error
    try:
        return _network(reader)
    except _Damaged as error:
        raise ModelError(
            "not a dlib face network as known here",
            where=path,
            found=f"{error}, at byte {reader.position:,}",
            remedy="Remove the file and fetch it again.",
        ) from None
