"""Appearances as an edit decision list (CMX 3600), which editing programs open as a cut of the moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .subtitles import OnScreen

__all__ = ["edl_lines", "timecode"]

_REEL = 8
"""Characters of a reel's name."""


def timecode(seconds: float, fps: float) -> str:
    """Return ``HH:MM:SS:FF`` without drop frames: the number of the frame at this time, counted at the whole rate."""
    rate = max(1, round(fps))
    frames = max(0, round(seconds * fps))
    rest, frame = divmod(frames, rate)
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour % 24:02d}:{minute:02d}:{second:02d}:{frame:02d}"


def edl_lines(title: str, clip: str, seen: Iterable[OnScreen], fps: float) -> Iterator[str]:
    """Yield the list, line by line: one event for each time somebody is on screen, cut one after the other.

    Parameters
    ----------
    title: of the list.
    clip: file name of the video.
    fps: its frames per second; 29.97 counts in frames of 30 a second, as editors do without drop frames.
    """
    reel = "".join(sign for sign in clip.upper() if sign.isascii() and sign.isalnum())[:_REEL] or "AX"
    yield f"TITLE: {_one_line(title)}\nFCM: NON-DROP FRAME\n\n"
    at_frame = 0
    for number, one in enumerate(sorted(seen, key=lambda one: (one.start_s, one.end_s, one.label)), start=1):
        first = max(0, round(one.start_s * fps))
        # The end of an event is the frame after its last one.
        length = max(1, round(one.end_s * fps) - first + 1)
        times = (first, first + length, at_frame, at_frame + length)
        source_in, source_out, record_in, record_out = (timecode(frame / fps, fps) for frame in times)
        yield f"{number:03d}  {reel:<8} V     C        {source_in} {source_out} {record_in} {record_out}\n"
        yield f"* FROM CLIP NAME: {_one_line(clip)}\n* COMMENT: {_one_line(one.label)}\n\n"
        at_frame += length


def _one_line(text: str) -> str:
    return " ".join(text.split())
