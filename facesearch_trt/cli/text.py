"""Text on a terminal."""

from __future__ import annotations

import io
import sys

__all__ = ["never_fail_to_print", "safe", "sentence"]


def safe(text: str) -> str:
    """Return a text that cannot move the terminal's cursor or change its colours; names of files may hold anything."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def never_fail_to_print() -> None:
    """Have escapes written for what standard output's encoding does not have, as on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def sentence(text: str) -> str:
    """Return a help text as a sentence."""
    return f"{text[0].upper()}{text[1:]}."
