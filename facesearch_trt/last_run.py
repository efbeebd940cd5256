"""``ROOT/last_run.json``: which clips the last run could not do, and why, so that reports and pages can say it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .people.files import locked, write_whole
from .running.runner import Outcome

__all__ = ["LAST_RUN_FILE", "last_run", "save_last_run"]

LAST_RUN_FILE = "last_run.json"


def save_last_run(root: Path, outcomes: Iterable[Outcome]) -> None:
    """Write the outcomes of a run. Raises StoreError."""
    clips = [
        {"clip": outcome.clip.name, "state": outcome.state, "message": outcome.message, "seconds": outcome.seconds}
        for outcome in outcomes
    ]
    # Escaped, because names of clips need not be valid text.
    with locked(root):
        write_whole(root / LAST_RUN_FILE, (json.dumps({"clips": clips}, indent=2) + "\n").encode("ascii"))


def last_run(root: Path) -> dict[str, str]:
    """Return the clips that failed in the last run, with the reason; empty where nothing is known."""
    try:
        content = json.loads((root / LAST_RUN_FILE).read_text(encoding="utf-8"))
        return {str(one["clip"]): str(one["message"]) for one in content["clips"] if one["state"] == "failed"}
    except (OSError, ValueError, KeyError, TypeError):
        # It is a courtesy; whether a clip is done its own run.json says.
        return {}
