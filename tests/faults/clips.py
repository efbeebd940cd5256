"""Small clips, and what is in a directory of results when the times are left out."""

from __future__ import annotations

import json
from pathlib import Path

from tests.media import numbered, write_clip

__all__ = ["FRAMES", "QUICK", "make_clips", "results"]

FRAMES = 10
QUICK = ("--frames", "none", "--detector-size", "64", "--threads", "1")


def make_clips(root: Path, *names: str) -> Path:
    """Write one clip of ten frames for each name; return ``root``."""
    root.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        write_clip(root / f"{name}.mp4", [numbered(index + frame) for frame in range(FRAMES)])
    return root


def results(root: Path) -> dict[str, object]:
    """Return the content of all results below ``root`` by path, without the times in ``run.json``."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.name == "run.json":
            record = json.loads(path.read_text())
            for own in ("seconds", "source"):  # a copy of a clip has another date, and so other keys
                record.pop(own)
            record["steps"] = {step: state["state"] for step, state in record["steps"].items()}
            found[name] = record
        elif (path.is_file() and ".pipeline" in name) or path.name == "people.csv":
            found[name] = path.read_bytes()
    return found
