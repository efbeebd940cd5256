"""Small file work shared by this room: sums, locks between processes, complete-or-absent writes."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import ModelError

__all__ = ["Readable", "copy_and_sum", "locked", "sha256_of", "work_directory"]

_log = logging.getLogger(__name__)

_BLOCK = 1 << 20


class Readable(Protocol):
    """What can be read in blocks of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...


def sha256_of(path: Path) -> str:
    """Return a file's sha256 as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def copy_and_sum(
    source: Readable, target: Path, expected_bytes: int, progress: Callable[[int, int], None] | None = None
) -> tuple[str, int]:
    """Copy a stream to a file; return the sha256 and size of what was copied.

    Ends one block after ``expected_bytes`` at the latest: a wrong archive must not fill the disk before its sum is
    found wrong. ``progress`` is called with the bytes that have come and ``expected_bytes``.
    """
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        while size <= expected_bytes and (block := source.read(_BLOCK)):
            file.write(block)
            digest.update(block)
            size += len(block)
            if progress is not None:
                progress(size, expected_bytes)
    return digest.hexdigest(), size


def _writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            "cannot make the directory for models",
            where=directory,
            found=error.strerror,
            remedy="Set FACESEARCH_HOME to a directory that can be written.",
        ) from error


@contextmanager
def locked(home: Path, name: str) -> Iterator[None]:
    """Hold a lock that other processes and threads wait for; it goes with its holder, however that ends.

    Raises ModelError where ``home`` cannot be written.
    """
    directory = home / "locks"
    _writable(directory)
    try:
        handle = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ModelError(
            "cannot lock the directory for models",
            where=directory,
            found=error.strerror,
            remedy="Set FACESEARCH_HOME to a directory that can be written.",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process that prepares %s", name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def work_directory(directory: Path, name: str) -> Iterator[Path]:
    """Make an empty directory inside ``directory``, for files that are renamed into it once complete; it is removed
    at the end.

    To be used under a lock of the same name: its fixed name lets the next holder clear away what a killed one left.
    """
    _writable(directory)
    work = directory / f".partial-{name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
