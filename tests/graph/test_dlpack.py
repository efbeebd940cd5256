"""Tensors of other libraries, read through DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facesearch_trt.errors import BackendError
from facesearch_trt.graph.dlpack import array_of
from facesearch_trt.types import Array
from tests.doubles.deepstream.bindings import bytes_at
from tests.doubles.deepstream.maker_metadata import Handling, Tensor


class Plain:
    """A tensor that is not the double's: numpy's own capsule."""

    def __init__(self, content: Array) -> None:
        self.content = content

    def __dlpack__(self) -> Any:
        return self.content.__dlpack__()


def tensor(content: Array, *, on_device: bool = False) -> Tensor:
    return Tensor(Handling(), content, on_device=on_device)


@pytest.mark.parametrize("kind", ["u1", "i1", "i4", "i8", "f2", "f4", "f8"])
def test_types(kind: str) -> None:
    content = np.arange(24).reshape(2, 3, 4).astype(kind)
    for one in (Plain(content), tensor(content), tensor(content[:, ::2, 1:])):
        wanted = one.content if isinstance(one, Plain) else one._content
        found = array_of(one, None)
        assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
        assert found.flags.c_contiguous and not np.shares_memory(found, content)


def test_a_scalar_and_nothing() -> None:
    assert array_of(tensor(np.array(7.0, np.float32)), None) == 7
    assert array_of(tensor(np.zeros((3, 0, 2), np.float32)), None).shape == (3, 0, 2)


def test_rows_with_a_pitch_on_the_device() -> None:
    rows = np.arange(5 * 32, dtype=np.uint8).reshape(5, 32)
    picture = np.lib.stride_tricks.as_strided(rows, (5, 4, 3), (32, 3, 1))
    asked = []

    def download(pointer: int, count: int) -> Array:
        asked.append(count)
        return bytes_at(pointer, count).copy()

    assert np.array_equal(array_of(tensor(picture, on_device=True), download), picture)
    # Not beyond the last pixel, where the memory may end.
    assert asked == [4 * 32 + 12]


def test_strides_in_bytes_of_packed_items_are_taken_for_what_they_are() -> None:
    content = np.arange(6, dtype=np.float32).reshape(2, 3)
    one = tensor(content)
    one._strides[:] = content.strides
    assert np.array_equal(array_of(one, None), content)


def test_device_memory_that_nobody_can_fetch() -> None:
    with pytest.raises(BackendError, match=r"where it lies.*device 2"):
        array_of(tensor(np.zeros(3, np.float32), on_device=True), None)


def test_unknown_types_and_directions() -> None:
    one = tensor(np.zeros(3, np.float32))
    one._managed.lanes = 4
    with pytest.raises(BackendError, match="of this type"):
        array_of(one, None)
    with pytest.raises(BackendError, match="backwards"):
        array_of(tensor(np.zeros(3, np.float32)[::-1]), None)


def test_without_strides_it_is_packed() -> None:
    content = np.arange(6, dtype=np.int32).reshape(3, 2)
    one = tensor(content)
    one._managed.strides = None
    one._managed.byte_offset = 8
    one._shape[0] = 2
    assert array_of(one, None).tolist() == [[2, 3], [4, 5]]
