"""Small file work shared by this room: sums, locks between processes, complete-or-absent writes."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import ModelError

__all__ = ["Progress", "Readable", "copy_and_sum", "locked", "sha256_of", "work_directory", "writing"]

_log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_TELL_S = 5.0
"""How often it is told how much of a download has come."""


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


class Progress:
    """Logs every few seconds how much of a download has come.

    ``name`` is what comes, ``total_bytes`` how large it is, where that is known.
    """

    every_s = _TELL_S

    def __init__(self, name: str, total_bytes: int | None = None) -> None:
        self._name = name
        self._of = "" if total_bytes is None else f" of {total_bytes / 1e6:.1f}"
        self._next_s = time.monotonic() + self.every_s

    def __call__(self, done_bytes: int) -> None:
        """Take how much has come by now."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + self.every_s
            _log.info("%s: %.1f%s MB have come", self._name, done_bytes / 1e6, self._of)


def copy_and_sum(
    source: Readable, target: Path, expected_bytes: int, progress: Progress | None = None
) -> tuple[str, int]:
    """Copy a stream to a file; return the sha256 and size of what was copied.

    Ends one block after ``expected_bytes`` at the latest: a wrong archive must not fill the disk before its sum is
    found wrong. Raises ModelError where the file cannot be written, and what ``source`` raises.
    """
    digest, size = hashlib.sha256(), 0
    with writing(target):
        file = target.open("wb", buffering=0)
    with file:
        while size <= expected_bytes and (block := source.read(_BLOCK)):
            with writing(target):
                left = memoryview(block)
                while left:
                    left = left[file.write(left) :]
            digest.update(block)
            size += len(block)
            if progress is not None:
                progress(size)
    return digest.hexdigest(), size


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a ModelError of the system's refusal to write a file or into a directory."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            "cannot be written",
            where=path,
            found=error.strerror or error,
            remedy="Free disk space, or set FACESEARCH_HOME to a directory that can be written.",
        ) from error


@contextmanager
def locked(home: Path, name: str) -> Iterator[None]:
    """Hold a lock that other processes and threads wait for; it goes with its holder, however that ends.

    Raises ModelError where ``home`` cannot be written.
    """
    path = home / "locks" / f"{name}.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
    Raises ModelError where ``directory`` cannot be written.
    """
    work = directory / f".partial-{name}"
    shutil.rmtree(work, ignore_errors=True)
    with writing(work):
        work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
