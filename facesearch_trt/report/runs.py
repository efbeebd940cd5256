"""Runs that the web starts: they go on as the ROOT was processed before, under what ``serve`` was told and the request says."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Container, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..config import Options, flag_of, options_as_dict, options_with
from ..errors import FaceSearchError, OptionError
from ..last_run import last_options
from ..plan import fingerprint, planned_keys, source_of
from ..store.record import RunRecord
from ..store.schema import RECORD_FILE, STEPS
from ..wiring import Tools
from .views import ClipView

__all__ = ["Redo", "RunRequest", "flags_of", "next_options", "to_redo"]

_MOST_CHANGES = 12


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run that is started from the web may be told; None for what was said the last time."""

    every: int | None = None
    frames: str | None = None
    crops: bool | None = None
    force: bool = False
    redo: bool = False
    """Go on even where finished clips are done again because they were made with other options."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Finished clips that a run would do again without having been told to."""

    clips: tuple[ClipView, ...]
    changes: tuple[str, ...]
    """``option: old → new``; empty where it is not the options that changed."""


def next_options(
    root: Path, clips: Iterable[ClipView], options: Options, given: Container[str], request: RunRequest
) -> Options:
    """Return the options of the next run: the request's over those ``given`` to ``serve`` over those that the latest
    results were made with over the last run's over the defaults. Raises OptionError for a value that there is not."""
    known = {field.name for field in fields(Options)}
    told = {name: value for name, value in options_as_dict(options).items() if name in given}
    if "pack" in told:
        # A pack that is asked for is not to be mixed with another one's networks.
        told = {"detector": None, "embedder": None, **told}
    asked = {name: getattr(request, name) for name in ("every", "frames", "crops")}
    found = Options()
    for recorded in (last_options(root), _latest(clips)):
        # Another version may have written it.
        with contextlib.suppress(OptionError):
            mine = {name: value for name, value in recorded.items() if name in known}
            found = options_with(found, mine, where="recorded options")
    wanted = {name: value for name, value in asked.items() if value is not None}
    return options_with(found, {**told, **wanted, "force": request.force}, where="run")


def _latest(clips: Iterable[ClipView]) -> dict[str, Any]:
    """Return the options of the results that were made last."""
    made: list[tuple[int, dict[str, Any]]] = []
    for clip in clips:
        if clip.record is not None:
            try:
                made.append(((clip.directory / RECORD_FILE).stat().st_mtime_ns, clip.record.options))
            except OSError:
                continue  # it is gone meanwhile
    return max(made, key=lambda one: one[0], default=(0, {}))[1]


def flags_of(options: Options) -> list[str]:
    """Return the command-line flags that make these options of the defaults."""
    usual, flags = options_as_dict(Options()), []
    for name, value in options_as_dict(options).items():
        if value == usual[name]:
            continue
        flag = flag_of(name)
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag.removeprefix('--')}")
        else:
            # In one word: a value may begin with a hyphen.
            flags.append(f"{flag}={value}")
    return flags


def to_redo(clips: Iterable[ClipView], options: Options) -> Redo | None:
    """Return the finished clips of which a run with these options would do steps again; None where there are none.

    Raises FaceSearchError where the options name what is not there.
    """
    with Tools(options) as tools:
        found = [clip for clip in clips if clip.record is not None and not _current(clip, clip.record, tools)]
    if not found:
        return None
    new, changes = options_as_dict(options), dict[str, None]()
    for clip in found:
        assert clip.record is not None
        for name, old in clip.record.options.items():
            if name in new and old != new[name]:
                changes[f"{name}: {old} → {new[name]}"] = None
    return Redo(tuple(found), tuple(changes)[:_MOST_CHANGES])


def _current(clip: ClipView, record: RunRecord, tools: Tools) -> bool:
    if clip.source is None or clip.source.source is None:
        # All that is left is what the steps stored, and the first cannot be done again.
        keys = {
            step: fingerprint(step, record.steps[before].key, tools)
            for before, step in itertools.pairwise(STEPS)
            if before in record.steps
        }
    else:
        try:
            keys = planned_keys(source_of(clip.source, record), tools)
        except FaceSearchError:
            return True  # the run will say what is wrong with it
    return all(step in record.steps and record.steps[step].key == key for step, key in keys.items())
