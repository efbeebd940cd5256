"""Files that are there whole or not at all, and their sums."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from ..errors import EngineError

__all__ = ["file_sha256", "write_atomic"]


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all. Raises EngineError where it cannot be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise EngineError(
            "cannot write", where=path, found=error, remedy="Free disk space or choose another directory."
        ) from error


def file_sha256(path: Path) -> str:
    """Return a file's sha256 in hexadecimal. Raises EngineError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise EngineError("cannot read the network", where=path, found=error) from error
    return digest.hexdigest()
