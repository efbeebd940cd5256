"""The end of a pass: what can be made only when all of it is known, and the list of what has to go."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import TableError
from ..types import Array
from . import schema
from .pth import write_pth
from .record import Counts, RunRecord, StepState
from .schema import StepName
from .staging import Staging
from .tables import TableWriter, columns_of, read_rows

__all__ = ["Columns", "Outcome", "build", "install"]

_LOG = logging.getLogger(__name__)
_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """What is added to the rows of ``faces.csv``."""

    rows: Path | None = None
    """File of the embeddings, raw float32 [N, dimension]."""
    dimension: int = 0
    model: str = ""
    track_ids: Array | None = None
    """int64 [N]."""
    face_ids: Array | None = None
    """int64 [N]."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass came to."""

    keys: Mapping[StepName, str]
    """The steps it did, with their fingerprints."""
    counts: Counts
    columns: Columns
    keep: Literal["all", "faces", "none"]
    """Pictures of an earlier frames step that stay."""
    crops: bool = True
    """Whether the chips of an earlier faces step stay."""
    unwanted: tuple[str, ...] = ()
    """Pictures of an earlier frames step that go."""


def build(staging: Staging, outcome: Outcome) -> Outcome:
    """Make, in the staging area, the files that need the whole pass; return the outcome with all of its counts.

    Raises OSError where the disk refuses, TableError where an earlier step's table does not fit.
    """
    new, keys, columns = staging.new, outcome.keys, outcome.columns
    if outcome.keep != "all":
        outcome = _without_pictures(staging, outcome)
    if (new / schema.FRAMES.file).exists():
        shutil.copyfile(new / schema.FRAMES.file, new / schema.FRAMES_COPY)
    if "embeddings" in keys or "identity" in keys:
        base = new if "faces" in keys else staging.directory
        # Named apart and renamed, since the base may be the file of that name.
        _extend(base / schema.FACES.file, staging.spool / schema.FACES.file, outcome)
        (staging.spool / schema.FACES.file).rename(new / schema.FACES.file)
    if columns.rows is not None:
        write_pth(new / schema.EMBEDDINGS_FILE, columns.rows, outcome.counts.faces, columns.dimension, columns.model)
        columns.rows.unlink()
    tracks, people = (
        0 if ids is None else int(np.unique(ids[ids >= 0]).size) for ids in (columns.track_ids, columns.face_ids)
    )
    return replace(outcome, counts=replace(outcome.counts, tracks=tracks, people=people))


def install(staging: Staging, record: RunRecord, outcome: Outcome) -> None:
    """Move a built pass into place. Raises StoreError."""
    first = min(map(schema.STEPS.index, outcome.keys))
    changed = first if outcome.crops else min(first, schema.STEPS.index("faces"))
    changed = changed if outcome.keep == "all" else 0
    before = replace(record, steps={s: state for s, state in record.steps.items() if schema.STEPS.index(s) < changed})
    state: Literal["done", "damaged"] = "done" if record.damage is None else "damaged"
    done = {step: StepState(state, key) for step, key in outcome.keys.items()}
    earlier = {s: known for s, known in record.steps.items() if schema.STEPS.index(s) < first}
    after = replace(record, steps={**earlier, **done}, counts=outcome.counts)
    staging.install(before, after, lambda: _old(staging.directory, first, outcome))


def _old(directory: Path, first: int, outcome: Outcome) -> Iterator[Path]:
    """List what steps from the ``first`` on made, but for ``faces.csv`` where a new one takes its place."""
    for name in outcome.unwanted:
        yield directory / name
    for step in schema.STEPS[first:]:
        for name in schema.STEP_FILES[step]:
            yield directory / name
    if first <= schema.STEPS.index("frames"):
        yield from (path for path in _listed(directory) if schema.FRAME_PATTERN.fullmatch(path.name))
    if first <= schema.STEPS.index("faces") or not outcome.crops:
        chips = directory / schema.CHIPS_DIRECTORY
        yield from (path for path in _listed(chips) if schema.CHIP_PATTERN.fullmatch(path.name))
        yield chips


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _without_pictures(staging: Staging, outcome: Outcome) -> Outcome:
    """Make the tables of frames anew with only the pictures that are to stay."""
    faces = read_rows(staging.new / schema.FACES.file, schema.FACES)
    face = next(faces, None)
    unwanted = []
    pictures = 0
    with TableWriter(staging.new / schema.FRAMES.file, schema.FRAMES) as table:
        for frame_num, pts_s, width, height, file in read_rows(staging.directory / schema.FRAMES.file, schema.FRAMES):
            seen = False
            while face is not None and face[1] == frame_num:
                seen, face = True, next(faces, None)
            kept = bool(file) and seen and outcome.keep == "faces"
            pictures += kept
            if file and not kept:
                unwanted.append(schema.frame_file(frame_num))
            table.row(frame_num, pts_s, width, height, file if kept else "")
    return replace(outcome, counts=replace(outcome.counts, pictures=pictures), unwanted=tuple(unwanted))


def _extend(base: Path, target: Path, outcome: Outcome) -> None:
    """Copy ``faces.csv`` with the pass's columns after those of earlier steps."""
    columns, keys, count = outcome.columns, outcome.keys, outcome.counts.faces
    source = schema.FACES if "embeddings" in keys else schema.FACES_EMBEDDED
    norms = repeat(()) if columns.rows is None else _norms(columns.rows, columns.dimension)
    table = schema.FACES_EMBEDDED if columns.track_ids is None else schema.FACES_IDENTIFIED
    ids: Iterator[tuple[int, ...]] = repeat(())
    if columns.track_ids is not None and columns.face_ids is not None:
        if len(columns.track_ids) != count:
            raise ValueError(f"{count} faces and ids for {len(columns.track_ids)}")
        ids = zip(map(int, columns.track_ids), map(int, columns.face_ids), strict=True)
    found, chip = 0, schema.FACES.names.index("file")
    with TableWriter(target, table) as writer:
        for row in read_rows(base, source):
            found += 1
            if not outcome.crops:
                row[chip] = ""
            if found <= count:
                writer.row(*row, *next(norms), *next(ids))
    if found != count:
        raise TableError("wrong number of rows", where=base, asked=count, found=found, remedy=schema.redo("faces"))
    foreign = [name for name in columns_of(base) if name not in schema.FACES_IDENTIFIED.names]
    if foreign:
        _LOG.warning("%s: columns that the program does not know are dropped: %s", base, ", ".join(foreign))


def _norms(rows: Path, dimension: int) -> Iterator[tuple[float]]:
    """Yield the L2 norm of each row of a file of float32 [N, dimension], summed in float64."""
    with rows.open("rb") as file:
        while data := file.read(_CHUNK_ROWS * dimension * 4):
            values = np.frombuffer(data, "<f4").reshape(-1, dimension).astype(np.float64)
            norms = schema.rounded(np.sqrt(np.square(values).sum(axis=1)), schema.ENORM.decimals)
            yield from ((norm,) for norm in norms.tolist())
