"""The similarities by which a ROOT's people are grouped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..store.clip import ClipStore
from ..wiring import Tools
from .clips import finished_clips
from .files import read_state

__all__ = ["Similarities", "similarities_of"]

Similarities = tuple[float, float]
"""Cosine from which two faces are one person, in everyday use and on the safe side."""


def similarities_of(root: Path, tools: Tools) -> Similarities:
    """Return the thresholds: of the options where these say something of them, else those that were used last; of these
    results' own embedder in any case. A models file may have other thresholds for it."""
    options = tools.options
    if options.embedder or options.similarity_threshold is not None:
        return tools.similarities
    state = read_state(root, head=True)
    if state is not None and not options.models_file:
        return state.similarities
    for model in _embedders(root) if state is None else [state.model]:
        if model in tools.catalogue.models:
            entry = tools.catalogue.embedder(model)
            return entry.similarity, entry.similarity_strict
    return tools.similarities if state is None else state.similarities


def _embedders(root: Path) -> Iterator[str]:
    for directory in finished_clips(root).values():
        record = ClipStore(directory).record()
        if record is not None and "embedder" in record.models:
            yield record.models["embedder"].name
