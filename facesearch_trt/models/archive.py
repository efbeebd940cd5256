"""Takes one member out of a wheel, an sdist or a zip."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ..errors import FetchError

__all__ = ["open_member"]


def _matches(name: str, member: str) -> bool:
    """Whether an archive's path is the wanted one, at its top or inside one top directory (as in every sdist)."""
    return name == member or name.partition("/")[2] == member


@contextmanager
def _from_zip(archive: Path | IO[bytes], member: str) -> Iterator[IO[bytes] | None]:
    with zipfile.ZipFile(archive) as opened:
        found = next(
            (info for info in opened.infolist() if _matches(info.filename, member) and not info.is_dir()), None
        )
        if found is None:
            yield None
        else:
            with opened.open(found) as stream:
                yield stream


@contextmanager
def _from_tar(archive: Path, member: str) -> Iterator[IO[bytes] | None]:
    # "r|*" reads straight through: an index of a 100 MB archive would decompress it twice.
    with tarfile.open(archive, "r|*") as opened:
        found = next((info for info in opened if _matches(info.name, member) and info.isreg()), None)
        yield opened.extractfile(found) if found else None


@contextmanager
def open_member(archive: Path | IO[bytes], member: str, where: str) -> Iterator[IO[bytes]]:
    """Open a member of a zip (or wheel), given as a file or a seekable stream, or of a tar file (sdist) for reading.

    Raises FetchError, naming ``where`` the archive came from, when it is damaged or has no such member.
    """
    is_zip = not isinstance(archive, Path) or zipfile.is_zipfile(archive)
    try:
        with _from_zip(archive, member) if is_zip else _from_tar(cast(Path, archive), member) as stream:
            if stream is None:
                raise FetchError("the archive does not hold the weights", where=where, asked=member)
            yield stream
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise FetchError(
            "the archive is damaged", where=where, asked=member, found=error, remedy="Try again."
        ) from error
