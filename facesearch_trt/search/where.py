"""Which rows a question is about."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .lance import quoted

__all__ = ["EVERYTHING", "Where"]


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that all have to hold; an empty one holds always.

    Names may hold any character: they reach the database as quoted literals.
    """

    roots: tuple[str, ...] = ()
    """Absolute paths, any of them."""
    clips: tuple[str, ...] = ()
    """Names, any of them."""
    people: tuple[str, ...] = ()
    """``person_id`` or name, any of them."""
    person_ids: tuple[str, ...] = ()
    """``person_id`` and nothing else, any of them."""
    from_s: float | None = None
    """The track ends at or after it."""
    to_s: float | None = None
    """The track begins at or before it."""
    min_quality: float | None = None
    """Least quality of the row's face."""
    tracks: tuple[tuple[int, int], ...] = ()
    """(clip key, ``face_id``), any of them."""
    clip_keys: tuple[int, ...] = ()
    """Any of them."""

    def sql(self, kinds: Iterable[str] = ()) -> str:
        """Return the condition in Lance's SQL, also that the row is of one of ``kinds``; empty where all rows will do.

        Raises ValueError for a time or quality that is not a number.
        """
        parts = [
            _one_of("kind", kinds),
            _one_of("root", self.roots),
            _one_of("clip", self.clips),
            " OR ".join(part for part in (_one_of("person_id", self.people), _one_of("name", self.people)) if part),
            _one_of("person_id", self.person_ids),
            "" if self.from_s is None else f"end_s >= {_number(self.from_s)}",
            "" if self.to_s is None else f"start_s <= {_number(self.to_s)}",
            "" if self.min_quality is None else f"quality >= {_number(self.min_quality)}",
            # Said twice: the scalar index is not used for a disjunction.
            _any_key(key for key, _ in self.tracks),
            " OR ".join(f"(clip_key = {int(key)} AND face_id = {int(face_id)})" for key, face_id in self.tracks),
            _any_key(self.clip_keys),
        ]
        return " AND ".join(f"({part})" for part in parts if part)


EVERYTHING = Where()
"""No condition."""


def _one_of(column: str, values: Iterable[str]) -> str:
    listed = ", ".join(quoted(value) for value in values)
    return f"{column} IN ({listed})" if listed else ""


def _any_key(keys: Iterable[int]) -> str:
    listed = ", ".join(str(int(key)) for key in dict.fromkeys(keys))
    return f"clip_key IN ({listed})" if listed else ""


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return repr(float(value))
