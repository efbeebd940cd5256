"""Search by photo over an index: with which networks, and from photos to the answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Sequence

import numpy as np

from .config import Options
from .errors import ModelError, OptionError
from .photo import PhotoFace
from .search.confidence import Thresholds
from .search.index import Answer, Index
from .search.where import EVERYTHING, Where
from .wiring import Tools

__all__ = ["options_for", "search_faces"]


def options_for(index: Index, options: Options, given: Container[str]) -> Options:
    """Return the options, with the index's own embedder where none was asked for: ``given`` are the names of the
    options that a command line or its ``--config`` file gives.

    Raises OptionError where the index has faces of several embedders, ModelError for one that is not in the catalogue.
    """
    if "pack" in given or "embedder" in given:
        return options
    models = index.models()
    with Tools(options) as tools:
        usual, catalogue = tools.embedder_entry.name, tools.catalogue
    if usual in models or not models:
        return options
    if len(models) > 1:
        raise OptionError(
            "the index has faces of several embedders",
            where=index.location,
            found=", ".join(models),
            remedy="Say which one to search with --embedder.",
        )
    packs = [pack.name for pack in catalogue.packs.values() if pack.embedder == models[0]]
    if packs:
        return dataclasses.replace(options, pack=packs[0])
    if models[0] not in catalogue.models:
        raise ModelError(
            "the index's embedder is not in the catalogue",
            where=index.location,
            asked=models[0],
            remedy="Give the --models-file with which the clips were processed.",
        )
    return dataclasses.replace(options, embedder=models[0])


def search_faces(
    index: Index,
    faces: Sequence[PhotoFace],
    tools: Tools,
    *,
    where: Where = EVERYTHING,
    top: int = 20,
    min_similarity: float | None = None,
    exact: bool = False,
) -> Answer:
    """Return who resembles the person whom these faces show; see :meth:`Index.search`."""
    return index.search(
        np.stack([face.vector for face in faces]),
        model=tools.embedder_entry.name,
        thresholds=Thresholds(*tools.similarities),
        where=where,
        top=top,
        min_similarity=min_similarity,
        exact=exact,
    )
