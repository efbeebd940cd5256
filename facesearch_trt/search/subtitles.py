"""Who is on screen when, as subtitles that any player shows: SubRip and WebVTT."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .moments import clock

__all__ = ["Cue", "OnScreen", "cues", "srt_lines", "vtt_lines"]

_LEAST_S = 0.2
"""A cue of a shorter time cannot be read; it is shown for this long where nothing else follows."""


@dataclass(frozen=True, slots=True)
class OnScreen:
    """Somebody who is on screen from a time to a time."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Cue:
    """The same people on screen from a time to a time."""

    start_s: float
    end_s: float
    labels: tuple[str, ...]
    """In order of their first appearance in the clip."""


def cues(seen: Iterable[OnScreen]) -> Iterator[Cue]:
    """Yield who is on screen, a cue for each change, in order of time and without overlap."""
    spans = sorted(seen, key=lambda one: (one.start_s, one.end_s, one.label))
    rank = {span.label: at for at, span in reversed(list(enumerate(spans)))}
    changes = sorted(
        (time_s, step, span.label)
        for span in spans
        for time_s, step in ((span.start_s, 1), (max(span.end_s, span.start_s + _LEAST_S), -1))
    )
    present: dict[str, int] = {}
    pending: Cue | None = None
    for at, (time_s, step, label) in enumerate(changes):
        present[label] = present.get(label, 0) + step
        following = changes[at + 1][0] if at + 1 < len(changes) else time_s
        if following <= time_s:
            continue
        labels = tuple(sorted((one for one, count in present.items() if count > 0), key=rank.__getitem__))
        if pending is not None and pending.labels == labels and pending.end_s == time_s:
            pending = Cue(pending.start_s, following, labels)
            continue
        if pending is not None and pending.labels:
            yield pending
        pending = Cue(time_s, following, labels)
    if pending is not None and pending.labels:
        yield pending


def srt_lines(cues: Iterable[Cue]) -> Iterator[str]:
    """Yield a SubRip file, line by line."""
    for number, cue in enumerate(cues, start=1):
        start, end = (_padded(clock(time_s, mark=",")) for time_s in (cue.start_s, cue.end_s))
        yield f"{number}\n{start} --> {end}\n"
        # SubRip has no escape; many players read tags.
        yield from (f"{_one_line(label).replace('<', '‹').replace('>', '›')}\n" for label in cue.labels)
        yield "\n"


def vtt_lines(cues: Iterable[Cue]) -> Iterator[str]:
    """Yield a WebVTT file, line by line (W3C WebVTT, 4)."""
    yield "WEBVTT\n\n"
    for cue in cues:
        yield f"{_padded(clock(cue.start_s))} --> {_padded(clock(cue.end_s))}\n"
        yield from (f"{html.escape(_one_line(label), quote=False)}\n" for label in cue.labels)
        yield "\n"


def _padded(time: str) -> str:
    return time.zfill(len("00:00:00.000"))


def _one_line(label: str) -> str:
    """Return a label that cannot end its cue: no line break, not empty, no arrow."""
    return " ".join(label.split()).replace("-->", "→") or "?"
