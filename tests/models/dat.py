"""Writes small networks the way dlib serialises them, for the reader's tests."""

from __future__ import annotations

import struct

__all__ = ["integer", "network", "tensor", "text"]

DAMPING = b"".join([b"\x01\x01", b"\x01\x00"])  # 1.0 as mantissa and exponent


def integer(value: int) -> bytes:
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(shape: tuple[int, int, int, int], values: list[float]) -> bytes:
    return integer(2) + b"".join(integer(size) for size in shape) + struct.pack(f"<{len(values)}f", *values)


def alias(*shape: int) -> bytes:
    return integer(1) + b"".join(integer(size) for size in shape)


def _rest() -> bytes:
    empty = tensor((0, 0, 0, 0), [])
    return b"110" + empty * 3


def con(filters: int, channels: int, values: list[float]) -> bytes:
    settings = b"".join(integer(number) for number in (filters, 1, 1, 1, 1, 0, 0))
    shapes = alias(filters, channels, 1, 1) + alias(1, filters, 1, 1)
    return text("con_4") + tensor((len(values), 1, 1, 1), values) + settings + shapes + DAMPING * 4 + _rest()


def affine(channels: int, values: list[float]) -> bytes:
    shapes = alias(1, channels, 1, 1) * 2
    return text("affine_") + tensor((len(values), 1, 1, 1), values) + shapes + integer(0) + _rest()


def fc(inputs: int, outputs: int, values: list[float]) -> bytes:
    start = text("fc_2") + integer(outputs) + integer(inputs) + tensor((inputs, outputs, 1, 1), values)
    return start + alias(inputs, outputs, 1, 1) + alias(0, 0, 0, 0) + integer(1) + DAMPING * 4 + _rest()


def pool(kind: str) -> bytes:
    return text(kind) + b"".join(integer(number) for number in (3, 3, 2, 2, 0, 0)) + _rest()


def network() -> bytes:
    """con (2 filters of 3 channels), affine, relu, max pool, fc 2 to 2: all kinds of records, 600 bytes."""
    loss = integer(1) + text("loss_metric_2") + DAMPING * 2
    versions = b"".join(integer(number) for number in (2, 2, 2, 1, 3))
    picture = text("input_rgb_image_sized") + DAMPING * 3 + integer(150) + integer(150)
    first = con(2, 3, [1, 2, 3, 4, 5, 6, 0.5, -0.5]) + integer(1)
    rest = affine(2, [1, 2, 3, 4]) + text("relu_") + _rest() + pool("max_pool_2") + fc(2, 2, [1, 2, 3, 4])
    return loss + versions + picture + first + rest
