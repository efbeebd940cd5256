"""``ROOT/people_log.csv``: what became of people's ids."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from ..identity.persons import Change
from .files import read_rows_of, table_bytes, write_whole

__all__ = ["LOG_FILE", "append_log", "forget_log", "merged_into", "read_log"]

LOG_FILE = "people_log.csv"
_LOG_COLUMNS = ("at", "event", "person_id", "into", "why")


def read_log(root: Path) -> list[dict[str, str]]:
    """Return the rows of ``people_log.csv``; empty where there is none. Raises TableError."""
    return list(read_rows_of(root / LOG_FILE, _LOG_COLUMNS, ("person_id",)))


def merged_into(root: Path) -> dict[int, int]:
    """Return which person was merged into which, as the log tells; see :func:`.decided.followed`. Raises TableError."""
    return {int(row["person_id"]): int(row["into"]) for row in read_log(root) if row["event"] == "merged"}


def append_log(root: Path, changes: Iterable[Change], why: str) -> None:
    """Add what became of people's ids to ``people_log.csv``. New people are not news. Raises StoreError, TableError."""
    rows = read_log(root)
    # A run that was killed after this is done again and says the same once more.
    said = {(row["event"], row["person_id"], row["into"]) for row in rows if row["event"] in ("merged", "split")}
    at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    new = [
        dict(zip(_LOG_COLUMNS, (at, change.event, str(change.person_id), into, why), strict=True))
        for change in changes
        if change.event != "new"
        for into in ["" if change.into is None else str(change.into)]
        if (change.event, str(change.person_id), into) not in said
    ]
    if new:
        write_whole(root / LOG_FILE, table_bytes(_LOG_COLUMNS, ([row[c] for c in _LOG_COLUMNS] for row in rows + new)))


def forget_log(root: Path, kept: int, people: set[int]) -> None:
    """Take out of ``people_log.csv`` what was said of some people's merges and splits after its first ``kept`` rows."""
    rows = read_log(root)

    def unsaid(row: dict[str, str]) -> bool:
        named = {int(row["person_id"])} | ({int(row["into"])} if row["into"] else set())
        return row["event"] in ("merged", "split") and bool(named & people)

    left = rows[:kept] + [row for row in rows[kept:] if not unsaid(row)]
    if len(left) < len(rows):
        write_whole(root / LOG_FILE, table_bytes(_LOG_COLUMNS, ([row[c] for c in _LOG_COLUMNS] for row in left)))
