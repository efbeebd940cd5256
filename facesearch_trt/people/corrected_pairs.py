"""What a person's corrections in ``people.yaml`` say of an embedder: pairs known to be one person, and pairs known not
to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import IdentityError, InputError
from ..types import Array
from .decided import followed
from .decisions import DECISIONS_FILE, Decisions, load_decisions
from .files import State, read_state
from .log import merged_into
from .pairs import blocks_of_pairs

__all__ = ["CorrectedPairs", "corrected_pairs"]


@dataclass(frozen=True, slots=True)
class CorrectedPairs:
    """Cosines of pairs of people-of-clips that a person vouched for."""

    model: str
    """Name of the embedder."""
    people: int
    """People who were named, merged or split by hand."""
    faces: int
    """Their people-of-clips, one for each (clip, face_id)."""
    same: Array
    """float32 [S]: pairs of one person, of two clips."""
    strangers: Array
    """float32 [T]: pairs of two people."""


def corrected_pairs(root: Path) -> CorrectedPairs:
    """Return the pairs that the decisions on a ROOT vouch for.

    Whoever was named, merged or split by hand is taken as looked at, so all that is one such person is one person. Two
    of them are different people where they have different names, where one was split off the other, and where they were
    seen in one frame. Only people-of-clips with a face that can be trusted are compared.

    Raises InputError where nothing was corrected or grouped yet, OptionError for a damaged ``people.yaml``,
    TableError for a damaged log, IdentityError where the people are remembered no more.
    """
    decisions = load_decisions(root)
    if not (decisions.names or decisions.merge or decisions.split):
        raise InputError(
            "nobody was named, merged or split by hand",
            where=root / DECISIONS_FILE,
            remedy=f"Correct some people first (facesearch people name|merge|split {root} ...), or give photos.",
        )
    state = read_state(root)
    if state is None:
        raise IdentityError(
            "the people are not grouped yet", where=root, remedy=f"Run `facesearch people {root}` first."
        )
    into = merged_into(root)
    labels = _labels(state, decisions, into)
    trusted = np.concatenate([clip.trusted for clip in state.clips]) if state.clips else np.zeros(0, bool)
    rows = np.flatnonzero((labels >= 0) & trusted)
    label, clip = labels[rows], _clip_of_row(state)[rows]
    vectors = np.concatenate([one.vectors for one in state.clips])[rows] if len(rows) else np.zeros((0, 1), np.float32)
    people, place = np.unique(label, return_inverse=True)
    apart = _apart(state, decisions, into, labels, people)
    same, strangers = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for one, other, cosines, counts in blocks_of_pairs(vectors):
        # Faces of one clip were put together by their tracks and their light, which says nothing of two clips.
        same.append(cosines[counts & (label[one] == label[other]) & (clip[one] != clip[other])])
        strangers.append(cosines[counts & apart[place[one], place[other]]])
    return CorrectedPairs(state.model, len(people), len(rows), np.concatenate(same), np.concatenate(strangers))


def _labels(state: State, decisions: Decisions, into: dict[int, int]) -> Array:
    """Return int64 [N]: which known person each row is; -1 for those of whom nothing was said."""
    decided = {followed(person, into) for group in decisions.merge for person in group}
    decided |= {followed(p, into) for split in decisions.split for p in (split.person, split.into) if p is not None}
    named = {followed(person, into): name for person, name in decisions.names.items()}
    # Two ids of one name are one person.
    first: dict[str, int] = {}
    label = {person: person for person in decided | set(named)}
    for person, name in sorted(named.items()):
        label[person] = first.setdefault(name, person)
    return np.array([label.get(person, -1) for person in state.person_ids.tolist()], np.int64)


def _clip_of_row(state: State) -> Array:
    return np.repeat(np.arange(len(state.clips)), [len(clip.face_ids) for clip in state.clips])


def _apart(state: State, decisions: Decisions, into: dict[int, int], labels: Array, people: Array) -> Array:
    """Return which of some labels, int64 [P] rising, are two people: bool [P, P]."""
    named = np.isin(people, [followed(person, into) for person in decisions.names])
    apart = named[:, None] & named[None]
    of_person = dict(zip(state.person_ids.tolist(), labels.tolist(), strict=True))
    place = {label: number for number, label in enumerate(people.tolist())}

    def two(one: int, other: int) -> None:
        if one in place and other in place:
            apart[place[one], place[other]] = apart[place[other], place[one]] = True

    for split in decisions.split:
        if split.into is not None:
            two(*(of_person.get(followed(person, into), -1) for person in (split.person, split.into)))
    start = 0
    for clip in state.clips:
        for one, other in labels[start + clip.conflicts].tolist() if len(clip.conflicts) else []:
            two(one, other)
        start += len(clip.face_ids)
    np.fill_diagonal(apart, val=False)
    return apart
