"""What networks there are and which of them are on this machine, for ``facesearch models``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .catalogue import Catalogue
from .licences import accepted_licences
from .places import home_directory
from .prepare import is_prepared
from .weights import cached_weights, find_local

__all__ = ["ModelState", "list_models"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A network of the catalogue as a user sees it."""

    name: str
    kind: str
    """``detector`` or ``embedder``."""
    packs: tuple[str, ...]
    """The packs that use it."""
    licence: str
    licence_url: str
    commercial: bool
    """Whether commercial use is allowed."""
    accepted: bool | None
    """Whether the licence was accepted; None where that is not asked."""
    source: str
    """Where the weights are published, in words."""
    size_bytes: int
    """Of the published weights."""
    state: Literal["ready", "fetched", "absent"]
    """``ready``: prepared. ``fetched``: the weights are on this machine (their sum is checked on use). ``absent``:
    they are not."""


def list_models(catalogue: Catalogue, *, home: Path | None = None) -> list[ModelState]:
    """Return the state of every network, in the catalogue's order; hashes and fetches nothing."""
    home = home or home_directory()
    accepted = accepted_licences(home)
    states = []
    for entry in catalogue.models.values():
        state: Literal["ready", "fetched", "absent"] = "absent"
        if is_prepared(entry, home):
            state = "ready"
        elif find_local(entry, home) is not None or cached_weights(entry, home).is_file():
            state = "fetched"
        users = [pack.name for pack in catalogue.packs.values() if entry.name in (pack.detector, pack.embedder)]
        states.append(
            ModelState(
                name=entry.name,
                kind=entry.kind,
                packs=tuple(users),
                licence=entry.licence.name,
                licence_url=entry.licence.url,
                commercial=entry.licence.commercial,
                accepted=entry.licence.name in accepted if entry.licence.accept else None,
                source=str(entry.source),
                size_bytes=entry.size_bytes,
                state=state,
            )
        )
    return states
