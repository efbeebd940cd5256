"""Licences that a user has to accept once before weights are fetched."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import yaml

from ..errors import LicenceError
from .entries import Licence, ModelEntry
from .files import locked, writing
from .places import home_directory

__all__ = ["accept_licence", "accepted_licences", "require_accepted"]


def _record(home: Path) -> Path:
    return home / "accepted_licences.yaml"


def accepted_licences(home: Path | None = None) -> dict[str, str]:
    """Return the accepted licences: name to the date it was accepted on.

    Raises LicenceError when the record cannot be read.
    """
    path = _record(home or home_directory())
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise LicenceError(
            "cannot read the accepted licences", where=path, found=error, remedy="Remove the file."
        ) from error
    if not isinstance(content, dict):
        raise LicenceError(
            "the record of accepted licences is damaged", where=path, remedy="Remove the file and accept again."
        )
    return {str(name): str(date) for name, date in content.items()}


def accept_licence(licence: Licence, *, home: Path | None = None) -> None:
    """Record, for this user and all networks under it, that a licence was accepted. Accepting again changes nothing."""
    home = home or home_directory()
    with locked(home, "licences"):
        accepted = accepted_licences(home)
        if licence.name in accepted:
            return
        accepted[licence.name] = datetime.date.today().isoformat()
        path = _record(home)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with writing(path):
            partial.write_text(yaml.safe_dump(accepted), encoding="utf-8")
            partial.replace(path)


def require_accepted(entry: ModelEntry, home: Path) -> None:
    """Raise LicenceError when a network's licence has to be accepted first and was not."""
    licence = entry.licence
    if licence.accept and licence.name not in accepted_licences(home):
        raise LicenceError(
            f"the licence {licence.name} has to be accepted before {entry.name} is used",
            found="commercial use is allowed" if licence.commercial else "no commercial use is allowed",
            remedy=f"Read {licence.url}, then run `facesearch models --accept-licence {licence.name}` if it suits you.",
        )
