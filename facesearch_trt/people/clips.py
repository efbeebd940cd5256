"""The people of one clip as vectors: what of its results the grouping over all clips needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import IdentityError, StoreError
from ..identity.describe import face_trust, face_weights
from ..identity.scale import unit
from ..store.clip import ClipStore
from ..store.schema import EMBEDDINGS_FILE, FACES, QUALITY, RECORD_FILE
from ..types import Array

__all__ = ["OUTPUT_SUFFIX", "ClipPeople", "clip_fingerprint", "finished_clips", "read_clip_people"]

OUTPUT_SUFFIX = ".pipeline"
_VERSION = b"1"
"""Changes when the same results give other vectors."""


@dataclass(frozen=True, slots=True)
class ClipPeople:
    """The people of one clip; row i of each array belongs to ``face_ids[i]``."""

    clip: str
    fingerprint: str
    """Changes whenever the clip's results do."""
    model: str
    """Name of the embedder."""
    face_ids: Array
    """int64 [K], rising."""
    vectors: Array
    """float32 [K, D], unit: quality-weighted mean of the trusted faces, of all faces where none is trusted."""
    weights: Array
    """float64 [K]: sum of these faces' weights."""
    trusted: Array
    """bool [K]: whether there is a face that can be trusted."""
    conflicts: Array
    """int64 [C, 2]: pairs of rows that were seen in one frame."""


def finished_clips(root: Path) -> dict[str, Path]:
    """Return the ``.pipeline`` directories of a ROOT whose steps are all done, by the clip's name, in its order."""
    found = {}
    for directory in sorted(root.glob(f"*{OUTPUT_SUFFIX}")):
        record = ClipStore(directory).record() if directory.is_dir() else None
        if record is not None and "identity" in record.steps:
            found[directory.name.removesuffix(OUTPUT_SUFFIX)] = directory
    return found


def clip_fingerprint(directory: Path) -> str:
    """Return what changes whenever the clip's results do. Raises StoreError where they are gone."""
    digest = hashlib.sha256(_VERSION)
    try:
        digest.update((directory / RECORD_FILE).read_bytes())
        for name in (FACES.file, QUALITY.file, EMBEDDINGS_FILE):
            status = (directory / name).stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}".encode())
    except OSError as error:
        raise StoreError(
            "results are missing", where=directory, found=error.strerror, remedy="Run run_pipeline.py on this clip."
        ) from error
    return digest.hexdigest()[:32]


def read_clip_people(directory: Path) -> ClipPeople:
    """Return the people of a clip whose steps are complete; memory grows with its people, not with its faces.

    Raises StoreError where a step is not done, TableError where a table was changed, IdentityError where the record
    does not say which embedder made the embeddings.
    """
    store = ClipStore(directory)
    fingerprint = clip_fingerprint(directory)
    _, face_ids = store.load_identity()
    record = store.record()
    model = None if record is None else record.models.get("embedder")
    if model is None:
        raise IdentityError(
            "run.json does not name the embedder", where=directory, remedy="Run faces_to_embeddings.py --force."
        )
    sums = _Sums()
    row = 0
    for frame in store.load_faces(with_chips=False, with_embeddings=True):
        faces = frame.faces
        if not len(faces):
            continue
        here = face_ids[row : row + len(faces)]
        row += len(faces)
        assert faces.embeddings is not None
        sums.add(here, unit(faces.embeddings), face_weights(faces), face_trust(faces))
    return sums.finish(directory.name.removesuffix(OUTPUT_SUFFIX), fingerprint, model.name)


class _Sums:
    def __init__(self) -> None:
        self._total: dict[tuple[int, bool], Array] = {}
        """(face_id, trusted) → weighted sum of embeddings, with the weight itself as its last number."""
        self._pairs: set[tuple[int, int]] = set()
        self._frame: tuple[int, ...] = ()

    def add(self, face_ids: Array, vectors: Array, weights: Array, trusted: Array) -> None:
        for face_id, vector, weight, sure in zip(face_ids.tolist(), vectors, weights, trusted, strict=True):
            if face_id < 0:
                continue
            if not np.isfinite(vector).all():
                # Its face_id gets a person all the same: nobody who is known.
                vector, sure = np.zeros_like(vector), False  # noqa: PLW2901
            weighted = np.append(vector, np.float32(1)).astype(np.float64) * float(weight)
            key = (face_id, bool(sure))
            self._total[key] = self._total[key] + weighted if key in self._total else weighted
        together = tuple(sorted(set(face_ids[face_ids >= 0].tolist())))
        # Most frames show the same people as the one before.
        if together != self._frame:
            self._frame = together
            self._pairs |= {(one, other) for one in together for other in together if one < other}

    def finish(self, clip: str, fingerprint: str, model: str) -> ClipPeople:
        ids = sorted({face_id for face_id, _ in self._total})
        place = {face_id: row for row, face_id in enumerate(ids)}
        trusted = np.array([(face_id, True) in self._total for face_id in ids], bool)
        totals = [self._total[face_id, bool(sure)] for face_id, sure in zip(ids, trusted, strict=True)]
        table = np.stack(totals) if totals else np.zeros((0, 1))
        pairs = sorted((place[one], place[other]) for one, other in self._pairs if one in place and other in place)
        return ClipPeople(
            clip,
            fingerprint,
            model,
            np.array(ids, np.int64),
            unit(table[:, :-1]),
            np.maximum(table[:, -1], 1e-6),
            trusted,
            np.array(pairs, np.int64).reshape(-1, 2),
        )
