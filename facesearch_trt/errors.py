"""The error tree. Everything that is a user's or a machine's fault is a :class:`FaceSearchError`.

::

    FaceSearchError
     ├── UsageError            wrong use: exit status 2
     │    ├── InputError       ROOT or an input path is not usable
     │    └── OptionError      an option or a configuration file is wrong
     ├── ClipError             one clip failed; the others go on
     │    ├── DecodeError      the clip cannot be decoded at all
     │    ├── StallError       the decoder made no progress in time
     │    └── WorkerError      the process that worked on it died
     ├── ModelError            a network cannot be had or used
     │    ├── UnknownModelError
     │    ├── FetchError       a weights file could not be fetched
     │    ├── ChecksumError    a file's sha256 is not the catalogue's
     │    └── LicenceError     a licence has to be accepted first
     ├── BackendError          a runtime or graph is missing or does not fit this machine
     │    └── EngineError      an engine cannot be built, loaded or run
     ├── StoreError            a result cannot be read or written
     │    ├── BusyError        another process is writing it
     │    └── TableError       a table or embeddings file is damaged or of another kind
     └── IdentityError         people cannot be decided from what there is

A message is one line in a fixed order: where, what failed, what was asked for, what there is, what to do.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

__all__ = [
    "BackendError",
    "BusyError",
    "ChecksumError",
    "ClipError",
    "DecodeError",
    "EngineError",
    "FaceSearchError",
    "FetchError",
    "IdentityError",
    "InputError",
    "LicenceError",
    "ModelError",
    "OptionError",
    "StallError",
    "StoreError",
    "TableError",
    "UnknownModelError",
    "UsageError",
    "WorkerError",
    "pip_install",
]


class FaceSearchError(Exception):
    """Base of all errors that are shown to a user as one line, without a traceback.

    Parameters
    ----------
    what: what failed ("cannot decode the video").
    where: the clip, file or option concerned.
    asked: what was asked for.
    found: what there is instead.
    remedy: what the user can do, as an imperative sentence.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        asked: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.asked = asked
        self.found = found
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        details = [
            f"{label} {value}"
            for label, value in (("asked for", self.asked), ("there is", self.found))
            if value is not None
        ]
        if details:
            text += f" ({'; '.join(details)})"
        if self.remedy:
            text += f". {self.remedy}"
        return " ".join(text.split())

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.asked, self.found, self.remedy)


def _rebuild(
    cls: type[FaceSearchError], what: str, where: object, asked: object, found: object, remedy: str | None
) -> FaceSearchError:
    return cls(what, where=where, asked=asked, found=found, remedy=remedy)


class UsageError(FaceSearchError):
    """Wrong use of the program; the process ends with status 2."""


class InputError(UsageError):
    """The input path is missing, empty or ambiguous."""


class OptionError(UsageError):
    """An option or a configuration file is wrong."""


class ClipError(FaceSearchError):
    """One clip failed; the others go on."""


class DecodeError(ClipError):
    """The clip cannot be decoded at all."""


class StallError(ClipError):
    """The decoder made no progress in the allowed time."""


class WorkerError(ClipError):
    """The process that worked on the clip died, by a crash of a decoder for example."""


class ModelError(FaceSearchError):
    """A network cannot be had or used."""


class UnknownModelError(ModelError, UsageError):
    """A model or pack name that is not in the catalogue."""


class FetchError(ModelError):
    """A weights file could not be fetched."""


class ChecksumError(ModelError):
    """A file's sha256 is not the one in the catalogue."""


class LicenceError(ModelError):
    """A licence has to be accepted before the model is used."""


class BackendError(FaceSearchError):
    """A runtime or graph is missing or does not fit this machine."""


class EngineError(BackendError):
    """An engine cannot be built, loaded or run."""


class StoreError(FaceSearchError):
    """A result cannot be read or written."""


class BusyError(StoreError):
    """Another process is writing the results; they can be had once it has finished."""


class TableError(StoreError):
    """A table or an embeddings file is damaged or of another kind."""


class IdentityError(FaceSearchError):
    """People cannot be decided from what there is."""


def pip_install(requirement: str) -> str:
    """Return the command that installs a package for the Python that runs this, which need not be the one that ``pip`` is of."""
    checkout = Path(__file__).parents[1]
    name, bracket, extra = requirement.partition("[")
    if name == __name__.split(".")[0] and (checkout / "setup.cfg").is_file():
        # Not the name: a package index could have another program of it.
        return f"{shlex.quote(sys.executable)} -m pip install -e {shlex.quote(f'{checkout}{bracket}{extra}')}"
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"
