"""Writing an index: a clip's rows come, are replaced and go in one commit each, by one process at a time.

A process killed at any moment leaves every committed clip whole: Lance writes new files first and publishes them with
one atomic rename. What it leaves over is removed when a later writer tidies up.
"""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import StoreError
from . import policy
from .lance import btree, connect, is_remote, lance_errors, rabitq, table_name, table_names
from .lock import WriterLock
from .rows import VECTOR, ClipEntry, ClipRows, arrow_schema, arrow_table
from .tables import ModelTable
from .where import Where

__all__ = ["IndexWriter", "Removed"]

_LOG = logging.getLogger(__name__)

_LOCK_FILE = "writer.lock"
_ERASING_FILE = "erasing"
"""Is there while deleted rows may still be in the files."""
_LOOK_EVERY = 32
"""Commits after which it is checked whether to tidy up."""
_CLIPS_A_CONDITION = 500


@dataclass(frozen=True, slots=True)
class Removed:
    """What a deletion took out of the index."""

    clips: int
    """Clips that are not in the index any more."""
    tracks: int
    rows: int
    """All rows: tracks, best faces, and the clips' own."""


class IndexWriter:
    """Adds, replaces and removes clips. A context manager that holds the index's lock; used from one thread.

    Parameters
    ----------
    location: a directory, made where it is not there, or an object store's URI. An object store has no lock: let one
        process write.
    wait_s: how long to wait for another writer.

    Raises StoreError where another process writes, or the index cannot be used.
    """

    def __init__(self, location: str | Path, *, wait_s: float = 0.0) -> None:
        self.location = str(location)
        self._wait_s = wait_s
        self._stack = ExitStack()
        self._database: Any = None
        self._tables: dict[str, Any] = {}
        """Model → LanceDB's table."""
        self._clips: dict[str, dict[int, ClipEntry]] = {}
        """Model → clip key → clip."""
        self._commits: dict[str, int] = defaultdict(int)

    def __enter__(self) -> IndexWriter:
        with ExitStack() as stack:
            if not is_remote(self.location):
                try:
                    Path(self.location).mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise StoreError("cannot make the index", where=self.location, found=error.strerror) from error
                stack.enter_context(WriterLock(Path(self.location) / _LOCK_FILE, wait_s=self._wait_s))
            self._database = connect(self.location)
            with lance_errors(self.location):
                for name in table_names(self._database):
                    self._remember(self._database.open_table(name))
            self._stack = stack.pop_all()
        if self._erasing is not None and self._erasing.exists():
            _LOG.info("%s: finishing an interrupted deletion", self.location)
            self.erase()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def clips(self) -> dict[int, ClipEntry]:
        """Return what is indexed, by clip key.

        A clip that was being moved to another model's table when a writer was killed has an empty fingerprint: it has
        to be put once more.
        """
        found: dict[int, ClipEntry] = {}
        for clips in self._clips.values():
            for key, entry in clips.items():
                found[key] = replace(entry, fingerprint="") if key in found else entry
        return found

    def put(self, clips: Sequence[ClipRows]) -> None:
        """Add clips, each in the place of what the index had of it, in at most two commits per model.

        Clips without any face are left out as long as the index has no face of their model.

        Raises StoreError where the index cannot be written or vectors have another dimension than the model's others,
        ValueError where a clip comes twice or a vector is zero or not finite.
        """
        if len({rows.entry.key for rows in clips}) != len(clips):
            raise ValueError("a clip comes twice")
        by_model: dict[str, list[ClipRows]] = defaultdict(list)
        for rows in clips:
            by_model[rows.entry.model].append(rows)
        for model, group in by_model.items():
            self._put(model, group)

    def delete(self, where: Where) -> Removed:
        """Take rows out of the index and out of its files; return what was removed.

        A condition on root or name takes whole clips, one on people takes their tracks only. Interrupted, it is
        finished by the next writer. Raises ValueError for an empty condition.
        """
        return self._delete([where])

    def forget(self, keys: Sequence[int]) -> Removed:
        """Remove clips by their keys, as :meth:`delete` does."""
        starts = range(0, len(keys), _CLIPS_A_CONDITION)
        return self._delete([Where(clip_keys=tuple(keys[start : start + _CLIPS_A_CONDITION])) for start in starts])

    def _delete(self, conditions: Sequence[Where]) -> Removed:
        clips = tracks = rows = 0
        for where in conditions:
            condition = where.sql()
            if not condition:
                raise ValueError("a deletion without any condition")
            for model, table in self._tables.items():
                reader = ModelTable(table, self.location)
                count = reader.count(condition)
                if not count:
                    continue
                tracks += reader.count(where.sql(["track"]))
                gone = [key for (key,) in reader.values(where.sql(["clip"]), ["clip_key"])]
                with lance_errors(self.location):
                    if self._erasing is not None:
                        self._erasing.touch()
                    table.delete(condition)
                rows, clips = rows + count, clips + len(gone)
                for key in gone:
                    self._clips[model].pop(key, None)
        if rows:
            self.erase()
        return Removed(clips, tracks, rows)

    def erase(self) -> None:
        """Write all tables anew, so that no file holds a removed or replaced row any more. Readers of older commits
        have to ask again."""
        with lance_errors(self.location):
            for model, table in self._tables.items():
                # Rows that are written again leave their old files altogether.
                table.update(where="true", values_sql={"row": "`row` + 0"})
                self._rebuild(model, table)
                _optimize(table, retain_s=0)
        if self._erasing is not None:
            self._erasing.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Merge small files and bring the approximate index up to date, where that is due. Call it after the last clip
        of a run."""
        with lance_errors(self.location):
            for model, table in self._tables.items():
                self._tidy(model, table)

    def _put(self, model: str, clips: list[ClipRows]) -> None:
        dimension = max((int(rows.vectors.shape[1]) for rows in clips if len(rows)), default=0)
        if not dimension and model not in self._tables:
            self._leave_other_models(model, clips)
            return
        table = self._table_for(model, dimension)
        dimension = dimension or self._dimension(table)
        known = self._clips[model]
        new = [rows for rows in clips if rows.entry.key not in known]
        redone = [rows for rows in clips if rows.entry.key in known]
        new_rows, redone_rows = (arrow_table(group, dimension) if group else None for group in (new, redone))
        with lance_errors(self.location):
            if new:
                table.add(new_rows, on_bad_vectors="null")
            if redone:
                keys = ", ".join(str(rows.entry.key) for rows in redone)
                (
                    table.merge_insert(["clip_key", "row"])
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .when_not_matched_by_source_delete(f"clip_key IN ({keys})")
                    .execute(redone_rows, on_bad_vectors="null")
                )
        for rows in clips:
            known[rows.entry.key] = rows.entry
        self._leave_other_models(model, clips)
        self._commits[model] += 1
        if self._commits[model] % _LOOK_EVERY == 0:
            with lance_errors(self.location):
                self._tidy(model, table)

    def _leave_other_models(self, model: str, clips: list[ClipRows]) -> None:
        """Remove clips from the tables of other models: their face_ids are those of the latest results only."""
        for other, others in self._clips.items():
            stale = [rows.entry.key for rows in clips if other != model and rows.entry.key in others]
            if stale:
                with lance_errors(self.location):
                    self._tables[other].delete(f"clip_key IN ({', '.join(map(str, stale))})")
                for key in stale:
                    del others[key]

    def _table_for(self, model: str, dimension: int) -> Any:
        table = self._tables.get(model)
        if table is None:
            with lance_errors(self.location):
                table = self._database.create_table(table_name(model), schema=arrow_schema(model, dimension))
            self._remember(table)
        elif (found := self._dimension(table)) != dimension and dimension:
            raise StoreError(
                "embeddings of another length than those in the index",
                where=self.location,
                asked=f"{model}, {dimension} numbers",
                found=f"{found} numbers",
                remedy="Give the model another name in models.yaml, or remove the index and make it anew.",
            )
        return table

    def _remember(self, table: Any) -> None:
        reader = ModelTable(table, self.location)
        self._tables[reader.model] = table
        self._clips[reader.model] = {entry.key: entry for entry in reader.clips()}

    def _tidy(self, model: str, table: Any) -> None:
        fragments = table.stats()["fragment_stats"]
        rows = table.count_rows()
        state = _index_state(table)
        if policy.approximate(rows, self._dimension(table)) if state is None else policy.due_for_rebuild(*state, rows):
            self._rebuild(model, table)
            _optimize(table, retain_s=policy.RETAIN_S)
        else:
            segments = 0 if state is None else state[0]
            # Fragments of different segments of the approximate index are not merged with each other.
            small = fragments["num_small_fragments"] - segments
            small_rows = rows - fragments["lengths"]["max"] if state is None else rows
            if policy.due_for_compaction(small, small_rows, rows):
                _optimize(table, retain_s=policy.RETAIN_S)

    def _rebuild(self, model: str, table: Any) -> None:
        """Build the approximate index over all rows, or drop it where there are too few of them."""
        rows = table.count_rows()
        if policy.approximate(rows, self._dimension(table)):
            _LOG.info("%s: building the approximate index of %s rows of %s", self.location, f"{rows:,}", model)
            table.create_index(VECTOR, config=rabitq(policy.partitions(rows), policy.CODE_BITS), replace=True)
            table.create_index("clip_key", config=btree(), replace=True)
        else:
            for index in table.list_indices():
                table.drop_index(index.name)

    def _dimension(self, table: Any) -> int:
        return int(table.schema.field(VECTOR).type.list_size)

    @property
    def _erasing(self) -> Path | None:
        return None if is_remote(self.location) else Path(self.location) / _ERASING_FILE


def _index_state(table: Any) -> tuple[int, int] | None:
    """Return the segments of the approximate index and the rows outside of it; None where there is none."""
    for index in table.list_indices():
        if index.columns == [VECTOR]:
            stats = table.index_stats(index.name)
            return stats.num_indices, stats.num_unindexed_rows
    return None


def _optimize(table: Any, *, retain_s: float) -> None:
    with warnings.catch_warnings():
        # It warns that readers of older versions fail; ours ask again.
        warnings.simplefilter("ignore", UserWarning)
        # This process holds the lock, so files that no commit knows are left over from a killed writer.
        table.optimize(cleanup_older_than=timedelta(seconds=retain_s), delete_unverified=True)
