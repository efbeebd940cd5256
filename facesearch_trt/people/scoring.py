"""How well the results of a ROOT agree with a truth: per clip, over all clips, across clips, and against the gallery."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, StoreError, TableError
from ..evaluation.scores import ClipScore, Matches, match_clip, score
from ..evaluation.truth import NOT_A_FACE, Sightings, read_sightings, read_truth
from ..identity.scale import unit
from ..store.clip import ClipStore
from ..store.schema import FACES, FRAMES
from ..types import Array
from .clips import OUTPUT_SUFFIX
from .files import read_people_table, read_state
from .gallery import Gallery, load_gallery

__all__ = ["GalleryScore", "RootScore", "score_root"]

_TRUTH_SUFFIXES = (".csv", ".txt")
_FPIR = 0.01


@dataclass(frozen=True, slots=True)
class GalleryScore:
    """Open-set identification of the people of clips (ISO/IEC 19795): each is a probe."""

    mated: int
    """Probes whose person is in the gallery."""
    non_mated: int
    tpir: float | None
    """Share of mated probes that get the right name, at a threshold that gives at most 1 % of the others a name."""
    threshold: float | None


@dataclass(frozen=True, slots=True)
class RootScore:
    """All scores of a ROOT."""

    clips: dict[str, ClipScore]
    """Per clip, of its face_ids."""
    overall: ClipScore
    """Of the face_ids of all clips together; each clip's are its own."""
    across: ClipScore | None
    """Of the person_ids over all clips; None without people.csv."""
    gallery: GalleryScore | None
    """None where no gallery was enrolled, or none of the truth's people is in it."""

    def as_dict(self) -> dict[str, Any]:
        """Return the scores by name."""
        return {
            "clips": {name: clip.as_dict() for name, clip in self.clips.items()},
            "overall": self.overall.as_dict(),
            "across": None if self.across is None else self.across.as_dict(),
            "gallery": None if self.gallery is None else asdict(self.gallery),
        }


def score_root(root: Path, truth: Path) -> RootScore:
    """Return the scores of all clips that have a truth: a file of the clip's name, ``.csv`` or ``.txt``, in a directory.

    Raises InputError where there is no truth or one of no clip, TableError where a truth is of another clip or a table
    is damaged, StoreError where a clip's steps are not done.
    """
    files = _truth_files(root, truth)
    persons = read_people_table(root)
    by_face, by_person = {}, []
    for name, path in files.items():
        directory = root / f"{name}{OUTPUT_SUFFIX}"
        found, true = _sightings(directory), read_truth(path)
        frames = _frames(directory)
        _drop_skipped(directory, true, frames)
        _check_inside(true, frames, path)
        by_face[name] = match_clip(found, true, frames=frames, where=path)
        if persons:
            by_person.append(match_clip(_named(found, name, persons), true, frames=frames, where=path))
    return RootScore(
        {name: score([matches]) for name, matches in by_face.items()},
        score(list(by_face.values())),
        score(by_person, shared=True) if by_person else None,
        _gallery_score(root, by_face),
    )


def _truth_files(root: Path, truth: Path) -> dict[str, Path]:
    if not truth.is_dir():
        raise InputError("is not a directory", where=truth, remedy="Give a directory with a truth file per clip.")
    files: dict[str, Path] = {}
    for path in sorted(truth.iterdir()):
        if path.suffix.lower() in _TRUTH_SUFFIXES:
            if path.stem in files:
                raise InputError(
                    "two truths of one clip", where=truth, found=f"{files[path.stem].name} and {path.name}"
                )
            files[path.stem] = path
    if not files:
        raise InputError("holds no truth", where=truth, asked="CLIP.csv or CLIP.txt (MOTChallenge)")
    for name, path in files.items():
        directory = root / f"{name}{OUTPUT_SUFFIX}"
        if not directory.is_dir():
            clips = sorted(entry.name.removesuffix(OUTPUT_SUFFIX) for entry in root.glob(f"*{OUTPUT_SUFFIX}"))
            raise InputError(
                "is the truth of no clip there",
                where=path,
                asked=directory,
                found=", ".join(clips[:5]) or "no clip",
                remedy="Name it as its clip, and process that clip first.",
            )
    return files


def _sightings(directory: Path) -> Sightings:
    record = ClipStore(directory).record()
    if record is None or "identity" not in record.steps:
        raise StoreError("not all steps are done", where=directory, remedy="Run run_pipeline.py on this clip first.")
    return read_sightings(directory / FACES.file, "face_id")


def _frames(directory: Path) -> dict[int, tuple[int, int]]:
    """Return the size of each frame that was looked at."""
    path = directory / FRAMES.file
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            return {int(row["frame_num"]): (int(row["width"]), int(row["height"])) for row in rows}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise TableError(
            "cannot read the frames", where=path, found=repr(error), remedy="Do the clip again."
        ) from error


def _drop_skipped(directory: Path, truth: Sightings, frames: dict[int, tuple[int, int]]) -> None:
    """Drop the truth's last frames where every N-th frame was looked at and these were not."""
    record = ClipStore(directory).record()
    every = 1 if record is None else int(record.options.get("every", 1))
    last = max(frames, default=-1)
    for number in [number for number in truth.boxes if last < number < last + every]:
        del truth.boxes[number], truth.names[number]


def _check_inside(truth: Sightings, frames: dict[int, tuple[int, int]], path: Path) -> None:
    for number, boxes in truth.boxes.items():
        if number not in frames:
            continue
        width, height = frames[number]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        outside = (middle < 0).any(axis=1) | (middle > [width, height]).any(axis=1)
        if outside.any():
            raise TableError(
                "the truth has faces outside the picture, so it is of another clip or another size",
                where=path,
                asked=f"frame {number}: {boxes[outside][0].round(1).tolist()}",
                found=f"{width}x{height} px",
                remedy="Give each clip its own truth file, in pixels of the clip.",
            )


def _named(found: Sightings, clip: str, persons: dict[tuple[str, int], int]) -> Sightings:
    def person(face_id: str) -> str:
        # The column may have been read as a float.
        number = persons.get((clip, int(float(face_id)))) if face_id else None
        return "" if number is None else str(number)

    return Sightings(found.boxes, {frame: [person(name) for name in names] for frame, names in found.names.items()})


def _gallery_score(root: Path, clips: dict[str, Matches]) -> GalleryScore | None:
    gallery, state = load_gallery(root), read_state(root)
    if gallery is None or state is None:
        return None
    vectors, truth = [], []
    for clip in state.clips:
        if clip.clip not in clips:
            continue
        matches = clips[clip.clip]
        people = _majority(zip(matches.found, matches.people, strict=True))
        for face_id, vector in zip(clip.face_ids.tolist(), clip.vectors, strict=True):
            if str(face_id) in people:
                vectors.append(vector)
                truth.append(str(people[str(face_id)]))
    known = set(gallery.names)
    if not known & set(truth) or gallery.model != state.model:
        return None
    return _tpir(gallery, np.stack(vectors), truth)


def _majority(pairs: Iterable[tuple[Hashable, Hashable]]) -> dict[Hashable, Hashable]:
    """Return who most of each identity's faces are."""
    counts: dict[Hashable, Counter[Hashable]] = {}
    for identity, person in pairs:
        if person != NOT_A_FACE:
            counts.setdefault(identity, Counter())[person] += 1
    return {identity: counter.most_common(1)[0][0] for identity, counter in counts.items()}


def _tpir(gallery: Gallery, vectors: Array, truth: list[str]) -> GalleryScore:
    templates = np.zeros((len(gallery.names), gallery.vectors.shape[1]), np.float32)
    np.add.at(templates, gallery.people, gallery.vectors)
    table = vectors @ unit(templates).T
    best, value = table.argmax(axis=1), table.max(axis=1)
    mated = np.array([person in gallery.names for person in truth])
    right = mated & np.array([gallery.names[one] == person for one, person in zip(best.tolist(), truth, strict=True)])
    others = np.sort(value[~mated])[::-1]
    if not len(others):
        # Nobody who is not in the gallery: no rate of false names can be measured.
        return GalleryScore(int(mated.sum()), 0, None, None)
    allowed = int(_FPIR * len(others))
    threshold = float(others[allowed])
    tpir = float((right & (value > threshold)).sum() / mated.sum())
    return GalleryScore(int(mated.sum()), len(others), round(tpir, 4), round(threshold, 4))
