"""Who appears together with whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .matches import PersonKey, person_key

__all__ = ["Companion", "Moment", "companions"]

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a clip in which both are on screen."""

    root: str
    clip: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Companion:
    """Somebody who was on screen at the same time."""

    root: str
    person_id: str | None
    name: str | None
    clip: str
    """That of the first moment; where ``person_id`` is None, the only one."""
    face_id: int
    """In that clip."""
    seconds: float
    """Sum of the moments."""
    moments: tuple[Moment, ...]


def companions(rows: Iterable[Mapping[str, Any]], wanted: set[PersonKey]) -> list[Companion]:
    """Return who shares time with the wanted people, the longest first.

    Rows are tracks, with the columns of ``rows.COLUMNS``, of the clips in question: those of the wanted people and
    all others.
    """
    theirs: dict[tuple[str, str], list[Span]] = defaultdict(list)
    others: dict[PersonKey, dict[tuple[str, str], list[Span]]] = defaultdict(lambda: defaultdict(list))
    first: dict[tuple[PersonKey, tuple[str, str]], Mapping[str, Any]] = {}
    for row in rows:
        key, clip, span = person_key(row), (row["root"], row["clip"]), (row["start_s"], row["end_s"])
        if key in wanted:
            theirs[clip].append(span)
        else:
            others[key][clip].append(span)
            known = first.setdefault((key, clip), row)
            if row["start_s"] < known["start_s"]:
                first[key, clip] = row
    found = []
    for key, clips in others.items():
        moments = tuple(
            Moment(*clip, *span)
            for clip in sorted(clips)
            for span in _common(_joined(theirs.get(clip, [])), _joined(clips[clip]))
        )
        if moments:
            row = first[key, (moments[0].root, moments[0].clip)]
            seconds = sum(moment.end_s - moment.start_s for moment in moments)
            found.append(
                Companion(row["root"], row["person_id"], row["name"], row["clip"], row["face_id"], seconds, moments)
            )
    return sorted(found, key=lambda one: (-one.seconds, one.root, one.clip, one.face_id))


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as spans in order that do not touch."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def _common(one: list[Span], two: list[Span]) -> list[Span]:
    """Return the time that is in both of two joined lists."""
    result = []
    left = right = 0
    while left < len(one) and right < len(two):
        start, end = max(one[left][0], two[right][0]), min(one[left][1], two[right][1])
        if start <= end:
            result.append((start, end))
        if one[left][1] < two[right][1]:
            left += 1
        else:
            right += 1
    return result
