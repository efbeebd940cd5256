"""Scores of a clip: were the faces found, and are the identities the people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import TableError
from ..types import Array
from .grouping import bcubed, nmi, pairwise, purity
from .truth import NOT_A_FACE, Sightings

__all__ = ["ClipScore", "Matches", "match_clip", "score"]


@dataclass(slots=True)
class Matches:
    """The true faces of a clip that were found, in the order of the frames."""

    frames: list[int]
    found: list[Hashable]
    """The identity reported for each; a face without one is an identity of its own."""
    people: list[Hashable]
    """The true person of each."""
    true_faces: int = 0
    """Number of true faces, found or not."""
    traps: int = 0
    """Number of places where there is no face."""
    false: int = 0
    """How many of these were reported."""


@dataclass(frozen=True, slots=True)
class ClipScore:
    """All scores, rounded to 0.0001; None where there is nothing to score."""

    true_faces: int
    recall: float | None
    """Share of true faces that were found."""
    false: float | None
    """Share of the truth's places without a face at which one was reported."""
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    pairwise_f: float
    wcp: float
    nmi: float
    idf1: float
    id_switches: int
    identities: int
    """Number of reported identities among the true faces found."""
    people: int
    """Number of people among them."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the scores by name."""
        return asdict(self)


def match_clip(
    found: Sightings,
    truth: Sightings,
    *,
    least_iou: float = 0.4,
    frames: Collection[int] | None = None,
    where: object = None,
) -> Matches:
    """Pair the reported faces of each frame with the true ones, the largest overlaps first.

    Frames that the truth does not mention, and faces that match no true face, do not count: a truth marks the people
    who can be told apart, not everybody in the background.

    Parameters
    ----------
    least_iou: least overlap of a pair.
    frames: the numbers of the frames that were looked at, when not all of them were; None for all that the truth
    mentions. where: names the clip in an error.

    Raises TableError where ``frames`` ends before the truth does: then it is the truth of another clip.
    """
    if frames is not None and truth.boxes and max(truth.boxes) > max(frames, default=-1):
        raise TableError(
            "the truth has frames that the clip has not",
            where=where,
            asked=f"frame {max(truth.boxes)}",
            found=f"frames up to {max(frames, default=-1)}",
            remedy="Give each clip its own truth file.",
        )
    looked = None if frames is None else set(frames)
    matches = Matches([], [], [])
    alone = 0
    for frame in sorted(truth.boxes):
        if looked is not None and frame not in looked:
            continue
        people = truth.names[frame]
        matches.true_faces += sum(person != NOT_A_FACE for person in people)
        matches.traps += sum(person == NOT_A_FACE for person in people)
        if frame not in found.boxes:
            continue
        for one, other in _pairs(found.boxes[frame], truth.boxes[frame], least_iou):
            if people[other] == NOT_A_FACE:
                matches.false += 1
                continue
            identity: Hashable = found.names[frame][one]
            if not identity:
                alone += 1
                identity = ("alone", alone)
            matches.frames.append(frame)
            matches.found.append(identity)
            matches.people.append(people[other])
    return matches


def score(clips: Sequence[Matches], *, shared: bool = False) -> ClipScore:
    """Return the scores of one clip, or of several together.

    Parameters
    ----------
    shared: whether an identity and a person mean the same in all clips, as person_id does; else each clip's are its
    own.
    """
    found = [_labels(clip.found, number, shared) for number, clip in enumerate(clips)]
    people = [_labels(clip.people, number, shared) for number, clip in enumerate(clips)]
    frames = [(number, frame) for number, clip in enumerate(clips) for frame in clip.frames]
    all_found: list[Hashable] = [label for labels in found for label in labels]
    all_people: list[Hashable] = [label for labels in people for label in labels]
    true_faces, traps = sum(clip.true_faces for clip in clips), sum(clip.traps for clip in clips)
    groups, pairs = bcubed(all_found, all_people), pairwise(all_found, all_people)
    return ClipScore(
        true_faces=true_faces,
        recall=_rounded(len(all_people) / true_faces) if true_faces else None,
        false=_rounded(sum(clip.false for clip in clips) / traps) if traps else None,
        bcubed_precision=_rounded(groups.precision),
        bcubed_recall=_rounded(groups.recall),
        bcubed_f=_rounded(groups.f),
        pairwise_f=_rounded(pairs.f) if all_people else 0.0,
        wcp=_rounded(purity(all_found, all_people)),
        nmi=_rounded(nmi(all_found, all_people)),
        idf1=_rounded(_idf1(all_found, all_people, true_faces)),
        id_switches=_switches(frames, all_found, all_people),
        identities=len(set(all_found)),
        people=len(set(all_people)),
    )


def _labels(labels: Iterable[Hashable], clip: int, shared: bool) -> list[Hashable]:
    # A face without an identity is its clip's own in any case.
    return [label if shared and not isinstance(label, tuple) else (clip, label) for label in labels]


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _pairs(found: Array, true: Array, least_iou: float) -> list[tuple[int, int]]:
    overlap = _iou(found, true)
    order = np.dstack(np.unravel_index(np.argsort(-overlap, axis=None, kind="stable"), overlap.shape))[0]
    pairs: list[tuple[int, int]] = []
    used_found: set[int] = set()
    used_true: set[int] = set()
    for one, other in order.tolist():
        if overlap[one, other] < least_iou or overlap[one, other] <= 0:
            break
        if one not in used_found and other not in used_true:
            used_found.add(one)
            used_true.add(other)
            pairs.append((one, other))
    return sorted(pairs)


def _iou(one: Array, other: Array) -> Array:
    a, b = one[:, None], other[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.maximum(sides, 0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b)]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-9))


def _idf1(found: Sequence[Hashable], people: Sequence[Hashable], true_faces: int) -> float:
    """Ristani et al. 2016: F1 of the faces under the best one-to-one assignment of identities to people.

    Reported faces that match no true face do not count here either.
    """
    from scipy.optimize import linear_sum_assignment

    if not people:
        return 0.0
    rows = {label: place for place, label in enumerate(dict.fromkeys(found))}
    columns = {label: place for place, label in enumerate(dict.fromkeys(people))}
    table = np.zeros((len(rows), len(columns)))
    np.add.at(table, ([rows[one] for one in found], [columns[other] for other in people]), 1)
    right = table[linear_sum_assignment(-table)].sum()
    return float(2 * right / (true_faces + len(found)))


def _switches(frames: Sequence[tuple[int, int]], found: Sequence[Hashable], people: Sequence[Hashable]) -> int:
    """How often a person's identity is another than when it was last seen in that clip."""
    last: dict[Hashable, Hashable] = {}
    switches: dict[Hashable, int] = defaultdict(int)
    for (clip, _), identity, person in zip(frames, found, people, strict=True):
        key = (clip, person)
        if key in last and last[key] != identity:
            switches[key] += 1
        last[key] = identity
    return sum(switches.values())
