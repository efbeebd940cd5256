"""What DeepStream is, as far as the double knows: the contract file and nothing else."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).parents[2] / "contracts" / "deepstream.json"


@functools.cache
def contract() -> dict[str, Any]:
    """Return the contract file's content."""
    content: dict[str, Any] = json.loads(CONTRACT.read_text(encoding="utf-8"))
    return content


def element(name: str) -> dict[str, Any]:
    """Return what the contract says of an element."""
    found: dict[str, Any] = contract()["elements"][name]
    return found


def pyds_class(name: str) -> dict[str, Any]:
    """Return the fields and methods of a class of pyds."""
    found: dict[str, Any] = contract()["pyds"]["classes"][name]
    return found


def maker_class(name: str) -> dict[str, Any]:
    """Return the properties, iterators and methods of a class of pyservicemaker."""
    found: dict[str, Any] = contract()["pyservicemaker"]["classes"][name]
    return found
