"""What the index holds: one row for each track's mean embedding, one for each of its best faces, and one that stands
for the clip.

The clip's own row has no vector. It makes "this clip is indexed, from exactly these results" part of the same commit as
the clip's other rows, and keeps clips without any face known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import Array

__all__ = [
    "COLUMNS",
    "FORMAT",
    "SEEN",
    "VECTOR",
    "ClipEntry",
    "ClipRows",
    "arrow_schema",
    "arrow_table",
    "clip_key",
    "seen",
]

FORMAT = "2"
"""Version of the columns below; a table of another one is refused."""

VECTOR = "vector"

SEEN = "seen"
"""The column with all that a found row brings along, as one text: a hundred rows from all over a large table cost a
read each for every column that is asked for, which took as long as the search itself when these were 20 columns. What
conditions ask for is there as columns of its own too."""

COLUMNS = (
    "clip_key",
    "kind",
    "root",
    "clip",
    "track_id",
    "face_id",
    "person_id",
    "name",
    "start_s",
    "end_s",
    "faces",
    "pts_s",
    "frame_num",
    "face_num",
    "x1",
    "y1",
    "x2",
    "y2",
    "quality",
    "chip",
)
"""What a found row brings along, in the order of its text."""

_CLIP_ROW = -1
"""``row`` of the clip's own row."""


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip as the index knows it."""

    root: str
    """Absolute path of the ROOT that holds its results."""
    clip: str
    """Its name, unique in the ROOT."""
    model: str
    """The embedder that its vectors are of."""
    fingerprint: str
    """Of the results that its rows were made from; other results have another one."""
    source: str = ""
    """Path of the video or image folder; empty where unknown."""
    start_s: float = 0.0
    """``pts_s`` of its first frame."""
    end_s: float = 0.0
    """``pts_s`` of its last frame."""

    @property
    def key(self) -> int:
        """What stands for the clip in the index."""
        return clip_key(self.root, self.clip)


@dataclass(frozen=True, slots=True)
class ClipRows:
    """A clip and its rows as parallel arrays."""

    entry: ClipEntry
    kind: Sequence[str]
    """``track``: the vector is a track's mean; ``face``: it is one face's."""
    track_id: Array
    """int [N]."""
    face_id: Array
    """int [N], the person in the clip."""
    person_id: Sequence[str | None]
    """The person over all clips; None where that is not decided."""
    name: Sequence[str | None]
    """What a user calls the person."""
    start_s: Array
    """float64 [N], ``pts_s`` of the track's first face."""
    end_s: Array
    """float64 [N], of its last."""
    faces: Array
    """int [N], how many faces the track has."""
    pts_s: Array
    """float64 [N], when the picture of this row was: the face itself, or the track's best one."""
    frame_num: Array
    """int [N], of that picture."""
    face_num: Array
    """int [N], of that face."""
    boxes: Array
    """float32 [N, 4], of that face: x1 y1 x2 y2 in px of the frame."""
    quality: Array
    """float32 [N], 0 to 1, of that face."""
    chip: Sequence[str]
    """File of that face's chip inside the clip's directory; empty where it was not kept."""
    vectors: Array
    """float32 [N, D], finite and not zero; their length does not matter. D may be anything where N is 0."""

    def __len__(self) -> int:
        return len(self.kind)


def clip_key(root: str, clip: str) -> int:
    """Return 63 bits that stand for a clip: two of a million clips share them with a chance of 1 in 10 million."""
    digest = hashlib.sha256(f"{root}\0{clip}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def arrow_schema(model: str, dimension: int) -> Any:
    """Return the ``pyarrow.Schema`` of a model's table."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("clip_key", pa.int64(), nullable=False),
            pa.field("row", pa.int32(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("root", pa.string(), nullable=False),
            pa.field("clip", pa.string(), nullable=False),
            pa.field("face_id", pa.int32()),
            pa.field("person_id", pa.string()),
            pa.field("name", pa.string()),
            pa.field("start_s", pa.float64()),
            pa.field("end_s", pa.float64()),
            pa.field("quality", pa.float32()),
            pa.field(SEEN, pa.string()),
            pa.field("source", pa.string()),
            pa.field("fingerprint", pa.string()),
            pa.field(VECTOR, pa.list_(pa.float32(), dimension)),
        ],
        metadata={"facesearch_format": FORMAT, "facesearch_model": model},
    )


def arrow_table(clips: Sequence[ClipRows], dimension: int) -> Any:
    """Return the ``pyarrow.Table`` of some clips of one model; vectors are brought to length 1.

    Raises ValueError for vectors of another dimension, or that are zero or not finite.
    """
    import pyarrow as pa

    schema = arrow_schema(clips[0].entry.model, dimension)
    return pa.concat_tables([table for rows in clips for table in (_own_row(rows.entry, schema), _rows(rows, schema))])


def _own_row(entry: ClipEntry, schema: Any) -> Any:
    import pyarrow as pa

    values: dict[str, Any] = {
        "clip_key": entry.key,
        "row": _CLIP_ROW,
        "kind": "clip",
        "root": entry.root,
        "clip": entry.clip,
        "start_s": entry.start_s,
        "end_s": entry.end_s,
        "source": entry.source,
        "fingerprint": entry.fingerprint,
    }
    return pa.table({field.name: pa.array([values.get(field.name)], field.type) for field in schema}, schema=schema)


def _rows(rows: ClipRows, schema: Any) -> Any:
    import pyarrow as pa

    count, dimension = len(rows), schema.field(VECTOR).type.list_size
    columns: dict[str, Any] = {
        "clip_key": np.full(count, rows.entry.key, np.int64),
        "row": np.arange(count, dtype=np.int32),
        "kind": list(rows.kind),
        "root": [rows.entry.root] * count,
        "clip": [rows.entry.clip] * count,
        "face_id": rows.face_id,
        "person_id": list(rows.person_id),
        "name": list(rows.name),
        "start_s": rows.start_s,
        "end_s": rows.end_s,
        "quality": rows.quality,
        SEEN: list(_seen(rows)),
        "source": [None] * count,
        "fingerprint": [None] * count,
    }
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    flat = pa.array(_unit(rows.vectors, (count, dimension)).ravel(), pa.float32())
    arrays[VECTOR] = pa.FixedSizeListArray.from_arrays(flat, dimension)
    return pa.table(arrays, schema=schema)


def _seen(rows: ClipRows) -> Iterator[str]:
    """Yield the text of :data:`SEEN` of each row."""
    count = len(rows)
    columns = (
        [rows.entry.key] * count,
        rows.kind,
        [rows.entry.root] * count,
        [rows.entry.clip] * count,
        rows.track_id.tolist(),
        rows.face_id.tolist(),
        rows.person_id,
        rows.name,
        rows.start_s.tolist(),
        rows.end_s.tolist(),
        rows.faces.tolist(),
        rows.pts_s.tolist(),
        rows.frame_num.tolist(),
        rows.face_num.tolist(),
        *rows.boxes.T.astype(np.float64).round(2).tolist(),
        rows.quality.astype(np.float64).round(4).tolist(),
        rows.chip,
    )
    for values in zip(*columns, strict=True):
        yield json.dumps(values, separators=(",", ":"))


def seen(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the texts of :data:`SEEN` say, each by the names of :data:`COLUMNS`."""
    return [dict(zip(COLUMNS, values, strict=True)) for values in json.loads(f"[{','.join(texts)}]")]


def _unit(vectors: Array, shape: tuple[int, int]) -> Array:
    if not shape[0]:
        return np.zeros(shape, np.float32)
    if vectors.shape != shape:
        raise ValueError(f"vectors of shape {vectors.shape}, not {shape}")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("a vector is zero or not finite")
    return np.asarray(vectors / lengths, np.float32)
