"""A lock that one process holds at a time, over the machines that share a file system.

It is a lock on a regular file that is open for writing: NFS passes no other on to its server (nfs(5), flock(2)). Who lets go
removes the file first, so that none stays; who comes by one that is not the file of that name any more takes it anew. The system
frees the lock of a process that ends, however it ends; its file stays until the next holder lets go. One that another user left is
removed by whoever may write the directory, once nobody holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["HeldLock", "hold"]

_LOG = logging.getLogger(__name__)
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}
_without_locks: set[int] = set()
"""Devices of which it was said that they have no locks."""
_LOOKS = 10
"""How often a file that may not be opened may be gone when it is looked at, until that means that it may not be made."""


class HeldLock:
    """A lock that is held until it is let go; see :func:`hold`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go, and leave no file."""
        # Before the lock is free: afterwards it may be another's. One that stays does no harm.
        with contextlib.suppress(OSError):
            # Where somebody removed ours, the name may stand for another's.
            if _is_there(self._descriptor, self._path):
                self._path.unlink()
        os.close(self._descriptor)


def hold(path: Path, *, wait: Callable[[], None] | None = None) -> HeldLock:
    """Take the lock of a file, which is made where it is not there.

    Parameters
    ----------
    wait: called before waiting for another holder; without it nobody is waited for.

    Raises BlockingIOError where another process holds it and ``wait`` is None, other OSErrors where the file cannot be made, or is
    another user's and can be neither written nor removed. A file system without locks is warned of, once.
    """
    looks = 0
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except PermissionError as error:
            looks += 1
            _remove_unheld(path, wait, error, last=looks == _LOOKS)
            continue
        try:
            if _locked(descriptor, path, wait) and _is_there(descriptor, path):
                return HeldLock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        # Its holder removed it between our calls.
        os.close(descriptor)


def _remove_unheld(path: Path, wait: Callable[[], None] | None, refused: PermissionError, *, last: bool) -> None:
    """Remove a file that may not be written, as soon as no process holds it. Raises ``refused`` where that cannot be done,
    BlockingIOError where one holds it and ``wait`` is None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # Its holder removed it between our calls, or nobody may make it.
        if last:
            raise refused from None
        return
    except OSError:
        raise refused from None
    try:
        # Nobody else removes it as long as it is locked here: so the name is not that of a newer one.
        if _locked(descriptor, path, wait) and _is_there(descriptor, path):
            path.unlink()
    except BlockingIOError:
        raise
    except OSError:
        # NFS, too, lets nobody lock it alone who may not write it.
        raise refused from None
    finally:
        os.close(descriptor)


def _locked(descriptor: int, path: Path, wait: Callable[[], None] | None) -> bool:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait is None:
                raise
            wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno == errno.ESTALE:
            # NFS: another machine removed it.
            return False
        if error.errno not in _NO_LOCKS:
            raise
        device = os.fstat(descriptor).st_dev
        if device not in _without_locks:
            _without_locks.add(device)
            _LOG.warning(
                "%s: this file system has no locks (%s); do not let two runs work on one ROOT",
                path.parent,
                error.strerror,
            )
    return True


def _is_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ESTALE:
            return False
        raise
