"""``ROOT/last_run.json``: the last run's options, and which clips it could not do and why, so that reports and pages can
say it and go on as it did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from .config import Options, options_as_dict
from .people.files import locked, write_whole
from .running.runner import Outcome

__all__ = ["LAST_RUN_FILE", "last_options", "last_run", "save_last_run"]

LAST_RUN_FILE = "last_run.json"

T = TypeVar("T")


def save_last_run(root: Path, outcomes: Iterable[Outcome], options: Options) -> None:
    """Write the outcomes of a run, and how it was told to work. Raises StoreError."""
    clips = [
        {"clip": outcome.clip.name, "state": outcome.state, "message": outcome.message, "seconds": outcome.seconds}
        for outcome in outcomes
    ]
    content = {"options": options_as_dict(options), "clips": clips}
    # Escaped, because names of clips need not be valid text.
    with locked(root):
        write_whole(root / LAST_RUN_FILE, (json.dumps(content, indent=2) + "\n").encode("ascii"))


def last_run(root: Path) -> dict[str, str]:
    """Return the clips that failed in the last run, with the reason; empty where nothing is known."""
    return _read(
        root,
        lambda content: {str(one["clip"]): str(one["message"]) for one in content["clips"] if one["state"] == "failed"},
    )


def last_options(root: Path) -> dict[str, Any]:
    """Return the options of the last run, by name; empty where nothing is known."""
    return _read(root, lambda content: dict(content["options"]))


def _read(root: Path, part: Callable[[Any], dict[str, T]]) -> dict[str, T]:
    try:
        return part(json.loads((root / LAST_RUN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        # It is a courtesy; whether a clip is done its own run.json says.
        return {}
