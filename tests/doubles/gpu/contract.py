"""The recorded names of the real modules."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["TENSORRT_VERSIONS", "Violation", "pycuda_names", "tensorrt_names"]

_CONTRACTS = Path(__file__).parents[2] / "contracts"


class Violation(AssertionError):
    """The code under test did what the real thing does not allow or has no name for."""


def _table(name: str) -> tuple[list[str], dict[str, list[bool]]]:
    lines = (_CONTRACTS / name).read_text(encoding="utf-8").splitlines()
    versions = lines[0].split("Columns:")[1].split()
    rows = {line.split()[0]: [mark == "Y" for mark in line.split()[1:]] for line in lines[1:]}
    return versions, rows


TENSORRT_VERSIONS = _table("tensorrt-api.txt")[0]


@cache
def tensorrt_names(version: str) -> frozenset[str]:
    """Return what a version of tensorrt has, as "Class.attribute" and "Class"."""
    column = TENSORRT_VERSIONS.index(version)
    names = {"__version__"}
    for file in ("tensorrt-api.txt", "tensorrt-api-extra.txt"):
        names |= {name for name, marks in _table(file)[1].items() if marks[column]}
    return frozenset(names)


@cache
def pycuda_names() -> frozenset[str]:
    """Return what pycuda has, as "driver.Class.attribute", "driver.function" and "compiler.function"."""
    lines = (_CONTRACTS / "pycuda-api.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
