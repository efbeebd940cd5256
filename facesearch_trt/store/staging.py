"""All or nothing: the results of a pass wait in ``.partial/`` until they are complete, then move into place.

What makes a kill at any moment harmless is the order of the work:

1. Everything is written below ``.partial/``. A kill leaves what was finished before as it was; the next pass removes
   ``.partial/``.
2. ``install`` first takes the pass's steps, and those that build on them, out of ``run.json``. From here until the end
   a kill leaves steps that are not complete, which the next run does again, over whatever lies there.
3. The old results of these steps are removed, so that none outlives them, and the new ones are renamed into place.
4. ``.partial/`` is removed, and the new ``run.json`` is renamed into place as the very last thing.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import BusyError
from .files import FORBIDDEN, storing, sync_directory, sync_file, write_durably
from .lock import HeldLock, hold
from .record import RunRecord
from .schema import FRAME_PATTERN, RECORD_FILE

__all__ = ["PARTIAL_DIRECTORY", "Staging", "discard_partial", "is_busy", "remove_results"]

_LOG = logging.getLogger(__name__)
PARTIAL_DIRECTORY = ".partial"
"""Of results that are not complete."""
_NEXT_RECORD = ".run.json.partial"
_LOCK = ".lock"


class Staging:
    """A clip directory held for one pass. Raises StoreError where it cannot be made, BusyError where another
    process works on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.new = directory / PARTIAL_DIRECTORY / "new"
        """The tree that will be moved into the clip's directory."""
        self.spool = directory / PARTIAL_DIRECTORY / "spool"
        """For what is needed only until the pass ends."""
        with storing(directory):
            self._lock: HeldLock | None = _held(directory, make=True)
            try:
                _remove_partial(directory)
                self.new.mkdir(parents=True)
                self.spool.mkdir()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Remove what was not installed, and let go of the directory; if it is empty it goes too."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            try:
                _remove_partial(self.directory)
            finally:
                lock.release()
            _remove_if_empty(self.directory)
        except OSError as error:
            _LOG.warning("%s: cannot remove what an unfinished pass left (%s)", self.directory, error)

    def install(self, before: RunRecord, after: RunRecord, old: Callable[[], Iterable[Path]]) -> None:
        """Move the new results into place.

        Parameters
        ----------
        before: the record to stand while files move: without the steps of this pass and those that build on it.
        after: the record of the complete result.
        old: lists the files and directories that must go first; those that a new file replaces need not be in it.

        Raises StoreError where the system refuses.
        """
        with storing(self.directory):
            shutil.rmtree(self.spool)
            for path in self.new.iterdir():
                # A picture that a power cut spoils is seen when it is read; waiting for each would take minutes.
                if path.is_file() and not FRAME_PATTERN.fullmatch(path.name):
                    sync_file(path)
            # Nothing is written from here on, only renamed and removed, so that a full disk cannot stop it half-way.
            records = {}
            for name, record in (("before", before), ("after", after)):
                records[name] = self.new.parent / f"{name}.json"
                write_durably(records[name], record.to_json().encode())
            had_record = (self.directory / RECORD_FILE).exists()
            records["before"].rename(self.directory / RECORD_FILE)
            if had_record:
                # The disk may do what follows in any order: the old record must be gone before anything that it vouches for.
                sync_directory(self.directory)
            for path in old():
                _remove(path)
            _move_tree(self.new, self.directory)
            records["after"].rename(self.directory / _NEXT_RECORD)
            shutil.rmtree(self.new.parent)
            sync_directory(self.directory)
            (self.directory / _NEXT_RECORD).rename(self.directory / RECORD_FILE)
            sync_directory(self.directory)


def discard_partial(directory: Path) -> bool:
    """Remove what a killed pass left in a clip directory; return whether there was anything.

    A directory that another process is writing is left alone. Raises StoreError where the system refuses.
    """
    with storing(directory):
        partial = any((directory / name).exists() for name in (PARTIAL_DIRECTORY, _NEXT_RECORD))
        if not partial and not (directory / _LOCK).exists():
            return False
        try:
            try:
                lock = _held(directory)
            except (BusyError, FileNotFoundError):
                return False
            try:
                _remove_partial(directory)
            finally:
                lock.release()
            _remove_if_empty(directory)
        except OSError as error:
            # The file of a lock that nobody holds does no harm: complete results stay usable where nothing can be removed.
            if partial or error.errno not in FORBIDDEN:
                raise
            return False
    return True


def is_busy(directory: Path) -> bool:
    """Return whether another process is writing a clip directory. Raises StoreError where the system refuses to tell."""
    with storing(directory):
        try:
            _held(directory).release()
        except BusyError:
            return True
    return False


def remove_results(directory: Path) -> None:
    """Remove a clip directory with all that is in it; where it is a link, what that leads to as well.

    Killed, it leaves a directory whose steps are not complete. Raises BusyError where another process is writing it, StoreError.
    """
    with storing(directory):
        place = directory.resolve()
        lock = _held(place)
        try:
            (place / RECORD_FILE).unlink(missing_ok=True)
            for entry in place.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != _LOCK:
                    entry.unlink()
        finally:
            lock.release()
        _remove_if_empty(place)
        if directory.is_symlink():
            directory.unlink()


def _held(directory: Path, *, make: bool = False) -> HeldLock:
    """Return the lock of a directory. Raises BusyError, FileNotFoundError where the directory is not there and not to be made."""
    while True:
        if make:
            directory.mkdir(parents=True, exist_ok=True)
        try:
            return hold(directory / _LOCK)
        except BlockingIOError:
            raise BusyError(
                "another process is writing these results",
                where=directory,
                remedy="Let it finish, or end it, and try again.",
            ) from None
        except FileNotFoundError:
            # Another process removed its empty directory between our two calls.
            if not make:
                raise


def _remove_partial(directory: Path) -> None:
    (directory / _NEXT_RECORD).unlink(missing_ok=True)
    if (directory / PARTIAL_DIRECTORY).exists():
        shutil.rmtree(directory / PARTIAL_DIRECTORY)


def _remove(path: Path) -> None:
    """Remove a file, or a directory if nothing is left in it: what a user put there stays."""
    if path.is_dir():
        _remove_if_empty(path)
    else:
        path.unlink(missing_ok=True)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _move_tree(source: Path, target: Path) -> None:
    """Rename every file below ``source`` to its place below ``target``; files before directories' own removal."""
    target.mkdir(exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _move_tree(Path(entry.path), target / entry.name)
            else:
                os.replace(entry.path, os.path.join(target, entry.name))  # noqa: PTH105, PTH118 - 100,000 of them
