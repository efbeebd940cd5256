"""The index as a reader sees it: search by photo, people and who appears with them. Every answer is of the latest
commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import InputError, ModelError
from ..types import Array
from .confidence import MOST_STRANGERS, Odds, Strangers, Thresholds
from .lance import connect, is_remote, lance_errors, table_name, table_names
from .matches import Match, PersonKey, matches_from_rows, person_key
from .rows import ClipEntry
from .tables import ModelTable
from .together import Companion, companions
from .where import EVERYTHING, Where

__all__ = ["Answer", "Found", "Index"]

_VECTOR_KINDS = ("track", "face")
_FIRST_LIMIT, _LAST_LIMIT = 256, 65_536
"""Rows asked for at first, and at most, to get all that pass the threshold."""
_SAMPLES = (1, 4)
"""How many times the wanted number of people is taken in rows; again where the first rows show few people. Rows from
all over a table of a million cost 0.1 ms each."""


@dataclass(frozen=True, slots=True)
class Found:
    """A person in a clip, and what the similarity is worth."""

    match: Match
    odds: Odds


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search by photo gave."""

    model: str
    verdict: Literal["found", "uncertain", "nobody"]
    """``uncertain``: above the threshold, but among so many tracks a stranger is expected to be too."""
    least_similarity: float
    """From here on somebody counts as found."""
    searched: int
    """Tracks that were compared."""
    found: tuple[Found, ...]
    """The most similar first; empty for ``nobody``."""
    nearest: Found | None
    """For ``nobody``: who came closest; None where nothing was searched."""
    left_out: int
    """How many more were found than were asked for."""
    warnings: tuple[str, ...]


class Index:
    """Reads an index. May be used from several threads at once, and while another process writes.

    ::

        index = Index.open("faces.index")
        answer = index.search(vectors, model="dlib-resnet", thresholds=Thresholds(0.925, 0.935))
        for found in answer.found:
            print(found.match.clip, found.match.appearances, found.odds.words())
    """

    def __init__(self, database: Any, location: str) -> None:
        self.location = location
        self._database = database
        self._lock = threading.Lock()
        self._tables: dict[str, ModelTable] = {}
        self._others: dict[str, tuple[int, Array]] = {}
        """Model → rows of the table then, a vector each of many people."""

    @classmethod
    def open(cls, location: str | Path) -> Index:
        """Open a directory or an object store's URI.

        Raises InputError where there is no index, StoreError where it cannot be read.
        """
        location = str(location)
        if not is_remote(location) and not Path(location).is_dir():
            raise InputError("there is no index", where=location, remedy="Make it first: facesearch index ROOT")
        return cls(connect(location), location)

    def models(self) -> list[str]:
        """Return the embedders that there are vectors of."""
        with lance_errors(self.location):
            names = table_names(self._database)
        return sorted(self._table(name).model for name in names)

    def clips(self, where: Where = EVERYTHING) -> list[ClipEntry]:
        """Return the clips of the index, by root, name and model. Only the conditions on root and clip count."""
        condition = Where(roots=where.roots, clips=where.clips, clip_keys=where.clip_keys).sql()
        entries = [entry for table in self._all() for entry in table.clips(condition)]
        return sorted(entries, key=lambda entry: (entry.root, entry.clip, entry.model))

    def count(self, where: Where = EVERYTHING) -> int:
        """Return how many tracks meet the conditions."""
        return sum(table.count(where.sql(["track"])) for table in self._all())

    def appearances(self, where: Where) -> list[Match]:
        """Return who was seen, one match per person and clip, without any photo, in order of clip and time."""
        rows = [row for table in self._all() for row in table.rows(where.sql(_VECTOR_KINDS))]
        return matches_from_rows(rows)

    def together(self, where: Where) -> list[Companion]:
        """Return who shares time with the people that the conditions name, the longest first."""
        found: list[Companion] = []
        for table in self._all():
            theirs = table.rows(where.sql(["track"]))
            keys = tuple(sorted({row["clip_key"] for row in theirs}))
            if keys:
                span = Where(clip_keys=keys, from_s=where.from_s, to_s=where.to_s, min_quality=where.min_quality)
                found += companions(table.rows(span.sql(["track"])), {person_key(row) for row in theirs})
        return sorted(found, key=lambda one: -one.seconds)

    def search(
        self,
        vectors: Array,
        *,
        model: str,
        thresholds: Thresholds,
        where: Where = EVERYTHING,
        top: int = 20,
        min_similarity: float | None = None,
        exact: bool = False,
    ) -> Answer:
        """Return who resembles a person, the most similar first, as appearances per clip.

        Parameters
        ----------
        vectors: float [K, D], the embeddings of one or several photos of one person; their mean direction is searched
            for.
        model: the embedder that they are of.
        thresholds: the catalogue's of that embedder.
        where: only among these rows.
        top: people per clip that are returned at most.
        min_similarity: cosine from which somebody counts as found; None for ``thresholds.similarity``.
        exact: look at every vector even where there is an approximate index.

        An appearance counts as found where one of its rows reaches the threshold; the person's other appearances in the
        same clip come with it, marked as such. Raises ModelError where the index has no vectors of this model,
        ValueError for vectors of another shape.
        """
        table = self._of_model(model)
        least = thresholds.similarity if min_similarity is None else min_similarity
        query, warnings = _joined_query(vectors, table.dimension, thresholds)
        searched, compared = table.count(where.sql(["track"])), table.count(where.sql(_VECTOR_KINDS))
        rows = self._nearest(table, query, where, least, exact)
        near = [row for row in rows if row["similarity"] >= least]
        matches = matches_from_rows(near, least=least)
        chosen = self._with_other_appearances(table, matches[:top], near, where, least)
        strangers = Strangers(self._stranger_scores(table, query), thresholds)
        found = tuple(Found(match, strangers.odds(match.similarity or 0.0, compared)) for match in chosen)
        nearest = None
        if not found and rows:
            match = matches_from_rows(rows[:1], least=least)[0]
            nearest = Found(match, strangers.odds(match.similarity or 0.0, compared))
        verdict: Literal["found", "uncertain", "nobody"] = "nobody"
        if found:
            verdict = "found" if found[0].odds.chance_hits < 1 else "uncertain"
        return Answer(model, verdict, least, searched, found, nearest, max(0, len(matches) - top), tuple(warnings))

    def _nearest(
        self, table: ModelTable, query: Array, where: Where, least: float, exact: bool
    ) -> list[dict[str, Any]]:
        """Return all rows that pass, or at least the nearest one."""
        # The clip's own rows have no vector, so no similarity: without other conditions there is nothing to filter by.
        condition = where.sql()
        limit = _FIRST_LIMIT
        while True:
            rows = table.nearest(query, condition, limit, exact=exact)
            if len(rows) < limit or rows[-1]["similarity"] < least or limit >= _LAST_LIMIT:
                return rows
            limit *= 4

    def _with_other_appearances(
        self, table: ModelTable, matches: list[Match], near: list[dict[str, Any]], where: Where, least: float
    ) -> list[Match]:
        """Return the matches with all tracks of each person in the clip."""
        keys = {(row["root"], row["clip"]): row["clip_key"] for row in near}
        tracks = tuple((keys[match.root, match.clip], match.face_id) for match in matches if match.face_id >= 0)
        if not tracks:
            return matches
        people = set(tracks)
        theirs = [row for row in near if (row["clip_key"], row["face_id"]) in people]
        unclustered = [match for match in matches if match.face_id < 0]
        condition = Where(tracks=tracks, from_s=where.from_s, to_s=where.to_s).sql(["track"])
        whole = matches_from_rows([*theirs, *table.rows(condition)], least=least)
        return sorted([*whole, *unclustered], key=lambda match: -(match.similarity or 0.0))

    def _stranger_scores(self, table: ModelTable, query: Array) -> Array:
        """Return the query's cosine to one row each of many people."""
        rows = table.count()
        with self._lock:
            known = self._others.get(table.model)
        if known is None or abs(known[0] - rows) > known[0] * 0.1:
            known = (rows, _a_vector_each(table))
            with self._lock:
                self._others[table.model] = known
        scores: Array = known[1] @ query
        return scores

    def _all(self) -> Iterator[ModelTable]:
        for model in self.models():
            yield self._table(table_name(model))

    def _of_model(self, model: str) -> ModelTable:
        models = self.models()
        if model not in models:
            raise ModelError(
                "the index has no faces of this embedder; embeddings of different ones cannot be compared",
                where=self.location,
                asked=model,
                found=", ".join(models) or "an empty index",
                remedy="Search with the pack that the clips were processed with, or process and index them with it.",
            )
        return self._table(table_name(model))

    def _table(self, name: str) -> ModelTable:
        with self._lock:
            table = self._tables.get(name)
        if table is None:
            with lance_errors(self.location):
                table = ModelTable(self._database.open_table(name), self.location)
            with self._lock:
                table = self._tables.setdefault(name, table)
        return table


def _a_vector_each(table: ModelTable) -> Array:
    """Return a vector each, float32 [N, D], of up to :data:`MOST_STRANGERS` people taken at random."""
    for share in _SAMPLES:
        rows, vectors = table.sample(share * MOST_STRANGERS)
        first: dict[PersonKey, int] = {}
        for at, row in enumerate(rows):
            first.setdefault(person_key(row), at)
        if len(first) * 2 >= MOST_STRANGERS or table.count() <= share * MOST_STRANGERS:
            break
    return vectors[list(first.values())[:MOST_STRANGERS]]


def _joined_query(vectors: Array, dimension: int, thresholds: Thresholds) -> tuple[Array, list[str]]:
    """Return the mean direction float32 [D] of vectors [K, D], and what is suspicious about them."""
    vectors = np.atleast_2d(np.asarray(vectors, np.float64))
    if vectors.ndim != 2 or vectors.shape[1] != dimension or not len(vectors):
        raise ValueError(f"query of shape {vectors.shape}, not [K, {dimension}]")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("a query vector is zero or not finite")
    unit = vectors / lengths
    cosines = unit @ unit.T
    warnings = [
        f"photos {one + 1} and {two + 1} do not look like one person: similarity {cosines[one, two]:.2f},"
        f" {thresholds.similarity:g} expected"
        for one, two in zip(*np.triu_indices(len(unit), 1), strict=True)
        if cosines[one, two] < thresholds.similarity
    ]
    mean = unit.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise ValueError("the photos cancel each other out")
    query: Array = (mean / length).astype(np.float32)
    return query, warnings
