"""File work with the store's errors: what the system refused, where, and what the user can do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError

__all__ = ["FORBIDDEN", "store_error", "storing", "sync_directory", "sync_file", "write_bytes", "write_durably"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
"""What the system says where a directory may not be written."""


def store_error(error: OSError, directory: Path, *, needed_bytes: int | None = None) -> StoreError:
    """Return the StoreError for a system error met while writing to ``directory``."""
    name = Path(error.filename).name if isinstance(error.filename, (str, os.PathLike)) else "a result"
    if error.errno in _FULL:
        return StoreError(
            f"cannot write {name}: {_reason(error)}",
            where=directory,
            asked=None if needed_bytes is None else f"{needed_bytes:,} bytes",
            found=_free(directory),
            remedy="Free some space, or keep fewer pictures with --frames faces or --frames none.",
        )
    if error.errno in FORBIDDEN:
        return StoreError(
            f"cannot write {name}: {_reason(error)}",
            where=directory,
            remedy="Make the directory writable, or put the clips (or links to them) into a directory that is.",
        )
    return StoreError(
        f"cannot write {name}: {_reason(error)}", where=directory, remedy="Check the directory and its disk."
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _free(directory: Path) -> str | None:
    for place in (directory, *directory.parents):
        try:
            return f"{shutil.disk_usage(place).free:,} bytes free"
        except OSError:
            continue
    return None


@contextmanager
def storing(directory: Path, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError of the body into a StoreError that names ``directory``."""
    try:
        yield
    except OSError as error:
        raise store_error(error, directory, needed_bytes=needed_bytes) from error


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a new file whole. Raises OSError, with the path in it, where the disk takes only a part."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        # write(2) does not know the name.
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file whole and wait until the disk has it."""
    write_bytes(path, data)
    sync_file(path)


def sync_file(path: Path) -> None:
    """Wait until the disk has a file's content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Wait until the disk has a directory's names; where the file system cannot sync a directory, do nothing."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
