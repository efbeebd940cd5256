"""Moments of a video in words, and how to go there."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["PLAYERS", "clock", "moment_link", "play_command", "seconds_from_clock"]

PLAYERS: dict[str, tuple[str, ...]] = {
    "mpv": ("mpv", "--start={start}", "{file}"),
    "ffplay": ("ffplay", "-ss", "{start}", "{file}"),
    "vlc": ("vlc", "--start-time={start}", "{file}"),
    "gst-play-1.0": ("gst-play-1.0", "--start-position={start}", "{file}"),
}
"""Player → its command line, the preferred one first."""


def clock(seconds: float, *, decimals: int = 3, mark: str = ".") -> str:
    """Return a time as ``H:MM:SS.mmm``; a negative one, before a container's zero, as 0."""
    unit = 10**decimals
    whole = max(0, round(seconds * unit))
    minutes, rest = divmod(whole, 60 * unit)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{rest // unit:02d}"
    return f"{text}{mark}{rest % unit:0{decimals}d}" if decimals else text


def seconds_from_clock(text: str) -> float:
    """Return the seconds in ``12.5``, ``1:02.5`` or ``1:00:02.5``. Raises ValueError for anything else."""
    parts = text.split(":")
    if len(parts) > 3 or not all(
        part.replace(".", "", int(at == len(parts) - 1)).isdecimal() for at, part in enumerate(parts)
    ):
        raise ValueError(f"{text!r} is not a time: give seconds, M:SS or H:MM:SS")
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return seconds


def moment_link(source: str, start_s: float) -> str:
    """Return a link that opens a video at a time in a browser (W3C Media Fragments, 4.2.1)."""
    return f"{Path(source).absolute().as_uri()}#t={max(0.0, start_s):.3f}"


def play_command(player: str, source: str, start_s: float) -> str:
    """Return a command line that plays a video from a time on, quoted for a shell."""
    # A name that begins with a hyphen would be an option.
    file = source if Path(source).is_absolute() else f"./{source}"
    return shlex.join(part.format(start=f"{max(0.0, start_s):.3f}", file=file) for part in PLAYERS[player])
