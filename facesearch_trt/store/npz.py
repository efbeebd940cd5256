"""Reads numpy's ``.npz`` files so that damage of any kind is one kind of error."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["opened_npz"]

_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise for foreign bytes: a claimed size, compression or encryption that is not there, for example."""


@contextmanager
def opened_npz(path: Path) -> Iterator[Any]:
    """Give the arrays of a file by name, each read when it is asked for.

    Raises FileNotFoundError, and ValueError where the file is damaged or the body does not find what it looks for.
    """
    with path.open("rb") as file:
        try:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise TypeError("it holds one array, not several")
            with content:
                yield content
        except _DAMAGE as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
