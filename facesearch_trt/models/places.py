"""Where weights and prepared networks lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home_directory", "search_directories"]


def home_directory() -> Path:
    """Return the program's cache: ``$FACESEARCH_HOME``, or ``facesearch`` in the user's cache directory (XDG)."""
    if home := os.environ.get("FACESEARCH_HOME"):
        return Path(home).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative value is to be ignored.
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "facesearch"


def search_directories(declared_in: Path, home: Path) -> list[Path]:
    """Return where files that a user put there are looked for, in order.

    The directory of the models.yaml that names the file, those in ``$FACESEARCH_MODELS`` (separated as in ``$PATH``),
    ``home/models``.
    """
    listed = [
        Path(part).expanduser().absolute() for part in os.environ.get("FACESEARCH_MODELS", "").split(os.pathsep) if part
    ]
    return list(dict.fromkeys([declared_in.parent, *listed, home / "models"]))
