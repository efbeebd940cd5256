"""The usual keys of a deep_sort.yaml as typed settings."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

import yaml

from ..errors import OptionError

__all__ = ["TrackerSettings", "load_tracker_settings"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackerSettings:
    """How faces become tracks. Made from a file by :func:`load_tracker_settings`, which holds the ranges; each key is
    explained there."""

    max_dist: float | None
    """Largest cosine distance between two faces of one person; None: 1 - the embedder's calibrated similarity."""
    min_confidence: float
    """Least detector score of a face that starts or keeps a track."""
    nms_max_overlap: float
    """IoU above which the weaker of two faces of a frame is not tracked."""
    max_iou_distance: float
    """Largest 1 - IoU between a track's predicted box and a face without help from its embedding."""
    max_age: int
    """Frames that a track survives without a face."""
    n_init: int
    """Faces that make a track certain."""
    nn_budget: int
    """Number of its latest faces that a track's appearance is averaged over while it is followed."""


_RANGES: dict[str, tuple[type, float, float]] = {
    "MAX_DIST": (float, 0, 2),
    "MIN_CONFIDENCE": (float, 0, 1),
    "NMS_MAX_OVERLAP": (float, 0, 1),
    "MAX_IOU_DISTANCE": (float, 0, 1),
    "MAX_AGE": (int, 1, 100_000),
    "N_INIT": (int, 1, 10_000),
    "NN_BUDGET": (int, 1, 100_000),
}


def load_tracker_settings(path: Path, base: TrackerSettings | None = None) -> TrackerSettings:
    """Read a deep_sort.yaml: a mapping ``DEEPSORT`` of the keys MAX_DIST, MIN_CONFIDENCE, NMS_MAX_OVERLAP,
    MAX_IOU_DISTANCE, MAX_AGE, N_INIT and NN_BUDGET. Keys that are missing are taken from ``base``.

    The key REID_CKPT of the original files is accepted and ignored: the embedder comes from the pack of models.

    Raises OptionError where the file is missing or no such mapping, a key is unknown (with the nearest known one), of a
    wrong type or out of range, or missing with no ``base``.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(
            "no such deep_sort file", where=path, remedy="configs/deep_sort.yaml is an example."
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise OptionError("cannot read the deep_sort file", where=path, found=error) from error
    section = content.get("DEEPSORT") if isinstance(content, dict) else None
    if not isinstance(content, dict) or list(content) != ["DEEPSORT"] or not isinstance(section, dict):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise OptionError("the file must hold the mapping DEEPSORT and nothing else", where=path, found=found)
    if "REID_CKPT" in section:
        log.info("%s: REID_CKPT is not used; the embedder comes from the pack of models", path)
    values = {str(key).lower(): _checked(str(key), value, path) for key, value in section.items() if key != "REID_CKPT"}
    if base is not None:
        return replace(base, **values)  # type: ignore[arg-type]
    missing = sorted(field.name.upper() for field in fields(TrackerSettings) if field.name not in values)
    if missing:
        raise OptionError("keys are missing", where=path, found=f"no {', '.join(missing)}")
    return TrackerSettings(**values)  # type: ignore[arg-type]


def _checked(key: str, value: object, path: Path) -> float | int | None:
    if key not in _RANGES:
        near = difflib.get_close_matches(key.upper(), _RANGES, n=1)
        known = ", ".join(_RANGES)
        remedy = f"Did you mean {near[0]}?" if near else f"The keys are {known}."
        raise OptionError("unknown key in DEEPSORT", where=path, asked=key, remedy=remedy)
    kind, low, high = _RANGES[key]
    if value is None and key == "MAX_DIST":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise OptionError(f"{key} has a wrong type", where=path, asked=repr(value), found=f"it takes {kind.__name__}")
    if not low <= value <= high:
        raise OptionError(f"{key} is out of range", where=path, asked=value, found=f"it takes {low} to {high}")
    return kind(value)  # type: ignore[no-any-return]
