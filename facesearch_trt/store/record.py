"""``run.json``: what made a clip's results, and which steps of it are complete.

The file is the one truth about completeness: it is the last thing that a pass writes. A file that is damaged, or that
another program or another format version wrote, counts as "nothing is done". Keys that this version does not know are
not kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from .. import __version__
from .schema import RECORD_FILE, STEPS, StepName

__all__ = ["Counts", "Live", "Model", "RunRecord", "Source", "StepState", "read_record"]

_LOG = logging.getLogger(__name__)
_PROGRAM = "facesearch_trt"
_FORMAT = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The clip as it was when it was read."""

    path: str
    size: int
    """Bytes; of an image folder, the sum over its images."""
    mtime_ns: int
    """Time of the last change, ns since 1970; of an image folder, the latest over its images."""
    listing: str = ""
    """Of an image folder, a hash of each image's name, size and time; empty where it was not kept, and for a video."""


@dataclass(frozen=True, slots=True)
class Model:
    """A network that was used."""

    name: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is in the tables. The store keeps it."""

    frames: int = 0
    pictures: int = 0
    """Frames whose picture is kept."""
    faces: int = 0
    tracks: int = 0
    people: int = 0
    """Different ``face_id`` that are not negative."""


@dataclass(frozen=True, slots=True)
class Live:
    """What was lost of a camera's stream while the clip was taken."""

    dropped_frames: int
    """Frames that the camera sent and the machine was too slow to take."""
    interruptions: int
    """How often the camera went away."""
    away_ms: int
    """For how long in all, ms."""


@dataclass(frozen=True, slots=True)
class StepState:
    """A step that was completed."""

    state: Literal["done", "damaged"]
    """``damaged``: all that could be read of a damaged clip was processed; doing it again would give the same."""
    key: str
    """Fingerprint of everything that decides the step's result."""


@dataclass(slots=True)
class RunRecord:
    """The content of ``run.json``."""

    program: str = _PROGRAM
    format: int = _FORMAT
    version: str = __version__
    clip: str = ""
    source: Source | None = None
    models: dict[str, Model] = field(default_factory=dict)
    """By role: ``detector``, ``embedder``."""
    options: dict[str, Any] = field(default_factory=dict)
    backend: str = ""
    """What ran the networks, as it was really used."""
    precision: str = ""
    """In which numbers they computed: "fp32", "fp16" or "int8"."""
    backend_why: str = ""
    """Why that was chosen, in one sentence."""
    graph: str = ""
    """What decoded the clip, as it was really used."""
    counts: Counts = field(default_factory=Counts)
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""
    steps: dict[StepName, StepState] = field(default_factory=dict)
    """The complete steps; a step that is not here is not done."""
    warnings: list[str] = field(default_factory=list)
    damage: str | None = None
    """Why the clip ended early or what of it could not be read; None for a whole clip."""
    live: Live | None = None
    """Of a clip that was taken from a camera."""

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """Return the record in a text. Raises ValueError where it is not one that this version wrote."""
        content = _instance(json.loads(text), dict, "the file")
        if content.get("program") != _PROGRAM or content.get("format") != _FORMAT:
            raise ValueError(f"it is from {content.get('program')!r}, format {content.get('format')!r}")
        source, live = content.get("source"), content.get("live")
        steps = {}
        for name, state in _items(content, "steps"):
            if name not in STEPS or state.get("state") not in ("done", "damaged"):
                raise ValueError(f"step {name!r} is {state.get('state')!r}")
            steps[name] = StepState(state["state"], _get(state, "key", str))
        damage = content.get("damage")
        return cls(
            version=_get(content, "version", str),
            clip=_get(content, "clip", str),
            source=None if source is None else _flat(Source, {"listing": "", **_instance(source, dict, "source")}),
            models={role: _flat(Model, model) for role, model in _items(content, "models")},
            options=dict(_get(content, "options", dict)),
            backend=_get(content, "backend", str),
            # Records of before these were kept can be read; "listing" above makes an image folder be done again.
            precision=_instance(content.get("precision", ""), str, "precision"),
            backend_why=_instance(content.get("backend_why", ""), str, "backend_why"),
            graph=_get(content, "graph", str),
            counts=_flat(Counts, _get(content, "counts", dict)),
            seconds={str(k): float(v) for k, v in _get(content, "seconds", dict).items()},
            steps=steps,
            warnings=[_instance(text, str, "a warning") for text in _get(content, "warnings", list)],
            damage=None if damage is None else _instance(damage, str, "damage"),
            live=None if live is None else _flat(Live, _instance(live, dict, "live")),
        )


def read_record(directory: Path) -> RunRecord | None:
    """Return a clip directory's record; None, with a logged warning where there is a file, when it cannot be used."""
    path = directory / RECORD_FILE
    try:
        return RunRecord.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _LOG.warning("%s: cannot be used, so nothing in this directory counts as done (%s)", path, error)
        return None


def _instance(value: object, kind: type[T], what: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{what} is {type(value).__name__}, not {kind.__name__}")
    return value


def _get(content: Mapping[str, object], key: str, kind: type[T]) -> T:
    return _instance(content.get(key), kind, key)


def _items(content: Mapping[str, object], key: str) -> list[tuple[Any, dict[str, Any]]]:
    return [(name, _instance(value, dict, f"{key}.{name}")) for name, value in _get(content, key, dict).items()]


def _flat(kind: type[T], content: Mapping[str, object]) -> T:
    """Return a dataclass whose fields are all strings or all are integers, as their annotations say."""
    types = {"str": str, "int": int}
    fields: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: _get(content, name, types[item.type]) for name, item in fields.items()})
