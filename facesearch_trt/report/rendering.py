"""Templates with what they share: escaping always, times, lengths, timelines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..search.matches import Appearance
from ..search.moments import clock

__all__ = ["STATIC", "environment", "local_path", "moment", "plural", "span", "spans_of"]

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
TIMELINE = 1000.0
"""Width of a timeline in its own units."""


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates. Every value is escaped; a name that is not there is an error."""
    env = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["moment"] = moment
    env.filters["span"] = span
    env.globals.update(plural=plural, spans_of=spans_of)
    return env


def moment(seconds: float) -> str:
    """Return a time in a clip: ``1:02.5``, ``1:00:02.5``."""
    text = clock(seconds, decimals=1)
    # Without hours that are none, and a leading zero of the minutes.
    return (text[3:] if text[2] == "0" else text[2:]) if text.startswith("0:") else text


def span(seconds: float) -> str:
    """Return a length of time: ``4.2 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spans_of(
    appearances: Sequence[Appearance], start_s: float, end_s: float, *, most: int = 400
) -> list[tuple[float, float, float, float]]:
    """Return the bars of a timeline of width 1000: left, width, and the times that they begin and end at.

    Bars are wide enough to be seen; those that would touch are joined, and with them never more than ``most`` remain.
    """
    length = max(end_s - start_s, 1e-6)
    gap = TIMELINE / most / 2
    bars: list[tuple[float, float, float, float]] = []
    for one in appearances:
        left = min(TIMELINE - 4, max(0.0, (one.start_s - start_s) / length * TIMELINE))
        width = min(TIMELINE - left, max(4.0, (one.end_s - one.start_s) / length * TIMELINE))
        if bars and left - (bars[-1][0] + bars[-1][1]) < gap:
            last = bars.pop()
            bars.append((last[0], max(last[1], left + width - last[0]), last[2], one.end_s))
        else:
            bars.append((left, width, one.start_s, one.end_s))
    return [(round(left, 1), round(width, 1), start, end) for left, width, start, end in bars]


def local_path(address: str) -> str:
    """Return an address if it is one of a page of this server, else ``/``: a link cannot send a user elsewhere."""
    parts = urlsplit(address)
    plain = not parts.scheme and not parts.netloc and address.startswith("/") and not address.startswith("//")
    return address if plain and "\\" not in address and address.isprintable() else "/"
