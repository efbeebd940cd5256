"""Says cheaply whether a file is still the one that was made: a stamp beside it holds its size, time, sha256 and
recipe."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .files import sha256_of

__all__ = ["fits", "stamp_path", "write_stamp"]


def stamp_path(path: Path) -> Path:
    """Return where the stamp of a file lies."""
    return path.with_suffix(".json")


def write_stamp(path: Path, recipe: dict[str, Any], sha256: str) -> None:
    """Write the stamp of a file as it is now. ``recipe``: what it was made from, as JSON values."""
    state = path.stat()
    stamp = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": sha256, "recipe": recipe}
    partial = path.with_suffix(f".json.{os.getpid()}")
    partial.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    partial.replace(stamp_path(path))


def fits(path: Path, recipe: dict[str, Any]) -> bool:
    """Whether the file is there, was made by this recipe and is as it was written.

    Takes the sha256 where the file's time is another (copied, restored); otherwise size and time are trusted.
    """
    try:
        stamp = json.loads(stamp_path(path).read_text(encoding="utf-8"))
        state = path.stat()
        if stamp["recipe"] != recipe or stamp["size"] != state.st_size:
            return False
        if stamp["mtime_ns"] == state.st_mtime_ns:
            return True
        if stamp["sha256"] != sha256_of(path):
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    # Saves the next look the sum. In a directory that cannot be written every look takes it.
    with contextlib.suppress(OSError):
        write_stamp(path, recipe, stamp["sha256"])
    return True
