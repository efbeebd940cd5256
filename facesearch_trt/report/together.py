"""Who is on screen together with whom, over all clips of a ROOT."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

from .views import ClipView, PersonView, Snapshot

__all__ = ["companions_of", "seconds_together"]

Span = tuple[float, float]


def companions_of(person: PersonView, snapshot: Snapshot) -> list[tuple[PersonView, float]]:
    """Return who shares time with a person, and how many seconds, the longest first; ignored people are left out."""
    clips = {seen.clip.id: seen.clip for seen in person.seen}
    pairs = seconds_together(clips.values(), snapshot)
    found = [
        (other if one is person else one, seconds)
        for (one_key, other_key), seconds in pairs.items()
        for one, other in [(snapshot.person_of[one_key], snapshot.person_of[other_key])]
        if person in (one, other)
    ]
    return sorted(found, key=lambda pair: -pair[1])


def seconds_together(clips: Iterable[ClipView], snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """Return the seconds that pairs of people, by their keys, are on screen at the same time."""
    total: dict[tuple[str, str], float] = defaultdict(float)
    for clip in clips:
        spans = [
            (one.start_s, one.end_s, person.key)
            for match in clip.matches
            for person in [snapshot.who[clip.id, match.face_id]]
            if not person.ignored
            for one in match.appearances
        ]
        for pair, seconds in _overlaps(spans).items():
            total[pair] += seconds
    return total


def _overlaps(spans: list[tuple[float, float, str]]) -> dict[tuple[str, str], float]:
    """Sweep over time: only those who are on screen are compared with whoever appears."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    present: list[tuple[float, str]] = []
    for start, end, key in sorted(spans):
        while present and present[0][0] <= start:
            heapq.heappop(present)
        for other_end, other in present:
            if other != key:
                pair = (key, other) if key < other else (other, key)
                found[pair] += min(end, other_end) - start
        heapq.heappush(present, (end, key))
    return found
