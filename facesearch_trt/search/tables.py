"""One model's table of the index, for readers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ..errors import StoreError
from ..types import Array
from . import policy
from .lance import lance_errors
from .rows import FORMAT, SEEN, VECTOR, ClipEntry, seen

__all__ = ["ModelTable"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

_DISTANCE = "_distance"
_TRIES = 3
_COUNTS = 256
"""Conditions whose counts are kept: each costs a scan of the columns that it names."""


class ModelTable:
    """Reads one model's rows. May be used from several threads at once, and while another process writes.

    Raises StoreError where the table is of another format than this program's or cannot be read.
    """

    def __init__(self, table: Any, location: str) -> None:
        self._table = table
        self._location = location
        with lance_errors(location):
            schema = table.schema
        metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        if metadata.get("facesearch_format") != FORMAT:
            raise StoreError(
                "the index is of another format",
                where=location,
                asked=FORMAT,
                found=metadata.get("facesearch_format", "none"),
                remedy="Remove it and run `facesearch index` again.",
            )
        self.model = metadata["facesearch_model"]
        """The embedder that all vectors of this table are of."""
        self.dimension: int = schema.field(VECTOR).type.list_size
        """How many numbers a vector has."""
        self._counted: tuple[int, dict[str, int]] = (-1, {})
        """The commit that was counted, and how many of its rows meet each condition that was asked for."""

    def version(self) -> int:
        """Return the number of the latest commit."""
        return int(self._read(lambda: self._table.version))

    def count(self, condition: str = "") -> int:
        """Return how many rows meet a condition of :meth:`Where.sql`."""
        # Before counting: a commit in between makes the next caller count again.
        version = self.version()
        counted = self._counted
        if counted[0] != version or len(counted[1]) >= _COUNTS:
            self._counted = counted = (version, {})
        found = counted[1].get(condition)
        if found is None:
            found = counted[1][condition] = int(self._read(lambda: self._table.count_rows(condition or None)))
        return found

    def has_approximate_index(self) -> bool:
        """Return whether searches go through an approximate index."""
        return any(index.columns == [VECTOR] for index in self._read(self._table.list_indices))

    def nearest(self, vector: Array, condition: str, limit: int, *, exact: bool = False) -> list[dict[str, Any]]:
        """Return up to ``limit`` rows nearest to a vector float32 [D], the most similar first, each with its cosine
        ``similarity``.

        ``exact`` looks at every vector even where there is an approximate index.
        """
        rows = self.count()

        def search() -> Any:
            query = self._table.search(vector, vector_column_name=VECTOR).distance_type("cosine").limit(limit)
            if exact:
                query = query.bypass_vector_index()
            else:
                query = query.nprobes(policy.probes(rows)).refine_factor(policy.refine_factor(limit))
            if condition:
                query = query.where(condition, prefilter=True)
            return query.select([SEEN, _DISTANCE]).to_arrow()

        table = self._read(search)
        found = seen(table[SEEN].to_pylist())
        for row, distance in zip(found, table[_DISTANCE].to_pylist(), strict=True):
            row["similarity"] = 1.0 - distance
        return found

    def rows(self, condition: str) -> list[dict[str, Any]]:
        """Return all tracks and faces that meet a condition, in no order, by the names of ``rows.COLUMNS``."""
        return seen([text for (text,) in self.values(condition, [SEEN]) if text is not None])

    def values(self, condition: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return some columns of all rows that meet a condition, the clips' own among them, in no order."""
        table = self._read(lambda: self._scan(condition, columns).to_arrow())
        return list(zip(*(table[name].to_pylist() for name in columns), strict=True))

    def vectors(self, condition: str = "") -> tuple[list[dict[str, Any]], Array]:
        """Return the tracks and faces that meet a condition, and their vectors float32 [N, D], of length 1."""
        return self._split(self._read(lambda: self._scan(condition, [SEEN, VECTOR]).to_arrow()))

    def _split(self, table: Any) -> tuple[list[dict[str, Any]], Array]:
        # A clip's own row has neither.
        table = table.filter(table[SEEN].is_valid())
        column = table[VECTOR].combine_chunks()
        vectors: Array = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dimension)
        return seen(table[SEEN].to_pylist()), vectors

    def sample(self, count: int) -> tuple[list[dict[str, Any]], Array]:
        """Return those of ``count`` rows, taken evenly at random, that have a vector, and these; always the same of the
        same table."""
        rows = self.count()
        if rows <= count:
            return self.vectors()
        offsets = np.random.default_rng(rows).choice(rows, count, replace=False).tolist()
        return self._split(self._read(lambda: self._table.take_offsets(offsets).select([SEEN, VECTOR]).to_arrow()))

    def clips(self, condition: str = "") -> Iterator[ClipEntry]:
        """Yield the clips whose own row meets a condition."""
        condition = f"kind = 'clip' AND ({condition})" if condition else "kind = 'clip'"
        columns = ["root", "clip", "source", "fingerprint", "start_s", "end_s"]
        for values in self.values(condition, columns):
            yield ClipEntry(model=self.model, **dict(zip(columns, values, strict=True)))

    def _scan(self, condition: str, columns: Sequence[str]) -> Any:
        query = self._table.search().select(list(columns))
        return query.where(condition) if condition else query

    def _read(self, read: Callable[[], T]) -> T:
        for attempt in range(_TRIES - 1):
            try:
                return read()
            except (OSError, RuntimeError, ValueError) as error:
                # A writer may have removed the version under our feet; the next attempt sees the latest one.
                _LOG.debug("%s: reading again after: %s", self._location, error)
                time.sleep(0.05 * (attempt + 1))
        with lance_errors(self._location):
            return read()
