"""What decides a step's result, as a fingerprint: a step whose recorded fingerprint is the same need not be done again."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import __version__
from .errors import DecodeError, InputError
from .graph.inputs import images_of
from .store.record import RunRecord, Source
from .store.schema import STEPS, StepName
from .types import Clip
from .wiring import Tools

__all__ = ["fingerprint", "parameters", "planned_keys", "source_of", "step_key"]

_RESULTS = "2"
"""Changes when the same clip and options give other results than the version before did: other colours, times or
pixels of frames, other faces. All clips are done again then."""


def source_of(clip: Clip, record: RunRecord | None) -> Source:
    """Return the clip as it is now, or as it was recorded when only its results are at hand.

    Raises InputError where neither is there, DecodeError where the clip cannot be read any more.
    """
    if clip.source is None:
        if record is None or record.source is None:
            raise InputError(
                "neither a clip nor usable results are here", where=clip.output, remedy="Give the clip itself."
            )
        return record.source
    try:
        if clip.kind == "video":
            stat = clip.source.stat()
            return Source(clip.source.name, stat.st_size, stat.st_mtime_ns)
        stats = {path.name: path.stat() for path in images_of(clip.source)}
    except OSError as error:
        raise DecodeError(
            "cannot be read", where=clip.source, found=error.strerror, remedy="Check that it is still there."
        ) from error
    listing = hashlib.sha256()
    for name, stat in stats.items():
        # No name holds a null byte.
        listing.update(os.fsencode(name) + f"\0{stat.st_size} {stat.st_mtime_ns}\0".encode())
    size = sum(stat.st_size for stat in stats.values())
    latest_ns = max((stat.st_mtime_ns for stat in stats.values()), default=0)
    return Source(clip.source.name, size, latest_ns, listing.hexdigest()[:32])


def parameters(step: StepName, tools: Tools) -> dict[str, Any]:
    """Return what a step's result depends on besides the step before it: the options and networks that it uses."""
    options = tools.options
    if step == "frames":
        return {"every": options.every, "frames": options.frames}
    if step == "faces":
        return {
            "detector": _described(tools.detector_entry),
            "template": tools.embedder_entry.template,
            "chip_size": tools.embedder_entry.chip_size,
            "detector_size": options.detector_size,
            "close_up_size": options.close_up_size,
            "score_threshold": options.score_threshold,
            "nms_iou": options.nms_iou,
            "min_face_px": options.min_face_px,
            "crops": options.crops,
            "precision": options.precision,
        }
    if step == "embeddings":
        return {"embedder": _described(tools.embedder_entry), "precision": options.precision}
    return {"tracker": asdict(tools.tracker_settings), "similarity": list(tools.similarities)}


def fingerprint(step: StepName, before: str, tools: Tools) -> str:
    """Return a step's fingerprint, given that of the step before it (of the source, for the first)."""
    content = json.dumps([__version__, _RESULTS, step, before, parameters(step, tools)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def step_key(step: StepName, clip: Clip, record: RunRecord | None, tools: Tools) -> str:
    """Return the fingerprint of one step run over what the step before it stored, whatever options that one had."""
    if step == STEPS[0]:
        return planned_keys(source_of(clip, record), tools)[step]
    before = None if record is None else record.steps.get(STEPS[STEPS.index(step) - 1])
    return fingerprint(step, "" if before is None else before.key, tools)


def planned_keys(source: Source, tools: Tools) -> dict[StepName, str]:
    """Return the fingerprints of all steps as one run with these options makes them."""
    keys: dict[StepName, str] = {}
    before = f"{source.path} {source.size} {source.mtime_ns} {source.listing}".rstrip()
    for step in STEPS:
        before = keys[step] = fingerprint(step, before, tools)
    return keys


def _described(entry: Any) -> dict[str, Any]:
    """Return a catalogue entry without what says nothing of its results: where it comes from, its licence and its thresholds."""
    described = asdict(entry)
    for name in ("declared_in", "source", "licence", "size_bytes", "similarity", "similarity_strict"):
        described.pop(name, None)
    return {name: str(value) if isinstance(value, Path) else value for name, value in described.items()}
